"""What stands in front of the transformer: input projections, and the fusion of audio into video."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.hosts.qd_detr.inputs import Streams, check_fusion, check_streams, keep_valid
from gatefuse_plugins.hosts.qd_detr.projection import input_projection
from gatefuse_plugins.registry import FUSIONS


class FusedFront(nn.Module):
    """Projects text and video, and lets a fusion mix audio into video.

    Args:
        video_dim: width of the video features, temporal endpoint feature included; likewise ``audio_dim``.
        text_dim: width of the text features.
        audio_dim: needed by a fusion.
        fusion: ``None`` leaves audio out. With ``placement`` "input" it works on raw features and gives ``output_dim``
            columns; with "projected" it works on projected ones, audio having a projection like the video's.
        hidden_dim: width D of what comes out.
        n_input_proj: layers of each projection.
        input_dropout: rate in the projections.

    Raises:
        ConfigError: a fusion without ``audio_dim`` or ``placement``.
    """

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        audio_dim: int | None = None,
        fusion: Fusion | None = None,
        hidden_dim: int = 256,
        n_input_proj: int = 2,
        input_dropout: float = 0.5,
        **base_options: Any,
    ) -> None:
        super().__init__(**base_options)
        self.video_dim, self.text_dim, self.audio_dim = video_dim, text_dim, audio_dim
        self.fusion = fusion
        sizes = (hidden_dim, n_input_proj, input_dropout)
        self.input_txt_proj = input_projection(text_dim, *sizes)
        if fusion is None:
            self.input_vid_proj = input_projection(video_dim, *sizes)
            return
        audio_width = check_fusion(fusion, audio_dim)
        if fusion.placement == "input":
            self.input_vid_proj = input_projection(fusion.output_dim, *sizes)
        else:
            self.input_vid_proj = input_projection(video_dim, *sizes)
            self.input_aud_proj = input_projection(audio_width, *sizes)

    def check(self, streams: Streams) -> None:
        """Raise ``DataError`` where a batch does not fit the widths that the model was made for."""
        check_streams(streams, self.video_dim, self.text_dim, None if self.fusion is None else self.audio_dim)

    def words(self, streams: Streams) -> Tensor:
        """Projected text (B, N, D)."""
        return self.input_txt_proj(keep_valid(streams.text, streams.text_mask))

    def features(self, streams: Streams) -> tuple[Tensor, Tensor | None]:
        """Video and audio as the fusion takes them, raw or projected; without a fusion projected video and ``None``."""
        video = keep_valid(streams.video, streams.video_mask)
        if self.fusion is None:
            return self.input_vid_proj(video), None
        audio = keep_valid(streams.audio, streams.audio_mask)
        if self.fusion.placement == "input":
            return video, audio
        return self.input_vid_proj(video), self.input_aud_proj(audio)

    def clips(self, video: Tensor, audio: Tensor | None, words: Tensor, streams: Streams) -> Tensor:
        """Projected clips (B, L, D), audio mixed in.

        Args:
            video: with ``audio`` from :meth:`features`.
            words: projected text, from :meth:`words`, of the ``streams``' texts.
        """
        if self.fusion is None:
            return video
        raw = self.fusion.placement == "input"
        fused = self.fusion(
            x=video,
            context=audio,
            condition=keep_valid(streams.text, streams.text_mask) if raw else words,
            x_mask=streams.video_mask,
            context_mask=streams.audio_mask,
            condition_mask=streams.text_mask,
        )
        return self.input_vid_proj(fused) if raw else fused


def build_fusion(config: Mapping[str, Any], video_dim: int, audio_dim: int | None, hidden_dim: int) -> Fusion:
    """Build a fusion of video and audio; widths that it takes and that its config leaves out are filled in.

    Raises:
        ConfigError: no such fusion, or ``audio_dim`` is missing.
    """
    cls = FUSIONS.get(str(config.get("type")))
    if cls is None:
        name = str(config.get("type"))
        raise ConfigError(f"QDDETR fusion type {name!r} is unknown{suggestion(name, FUSIONS.module_dict)}")
    if audio_dim is None:
        raise ConfigError(f"QDDETR: fusion {cls.__name__} needs audio_dim, the width of the audio features")
    widths = {"video_dim": video_dim, "audio_dim": audio_dim, "dim": hidden_dim}
    accepted = inspect.signature(cls).parameters
    return FUSIONS.build({name: width for name, width in widths.items() if name in accepted} | dict(config))
