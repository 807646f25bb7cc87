"""A fusion of audio inside the QD-DETR model that upstream's own code built and trains.

Parameter names are those of this project's host and of QD-DETR-exp (``input_vid_proj``, ``input_aud_proj``,
``fusion``), so checkpoints pass from one to the other without renaming.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import gatefuse_plugins.fusions  # noqa: F401  registers what a config may name
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.qd_detr.front import build_fusion
from gatefuse_plugins.hosts.qd_detr.inputs import check_fusion


def attach(model: nn.Module, config: Mapping[str, Any], video_dim: int, audio_dim: int | None) -> None:
    """Put a fusion into ``model``, before its optimizer is made and its checkpoint is loaded.

    The first layer of ``input_vid_proj`` is made anew for the width that it now gets; a fusion of projected streams
    brings ``input_aud_proj``, built as the video's.

    Args:
        model: upstream's ``QDDETR`` (``qd_detr/model.py``), with ``fusion`` None.
        config: of a registered fusion of video and audio.
        video_dim: width of the video features, temporal endpoint feature included; likewise ``audio_dim``.

    Raises:
        ConfigError: no audio features; an unknown fusion or option; the fusion is none of video and audio; the model
            has one already.
    """
    if model.fusion is not None:
        raise ConfigError(f"{type(model).__name__} has a fusion already ({type(model.fusion).__name__})")
    if audio_dim is None:
        raise ConfigError(f"fusion {config.get('type')} needs audio: add --a_feat_dir DIR --a_feat_dim WIDTH")
    try:
        fusion = build_fusion(config, video_dim, audio_dim, model.hidden_dim)
    except TypeError as error:
        raise ConfigError(f"fusion {config.get('type')}: {error}") from error
    check_fusion(fusion, audio_dim)
    layers = model.input_vid_proj
    if fusion.placement == "projected":
        model.input_aud_proj = nn.Sequential(
            *(_like(layer, audio_dim if layer is layers[0] else None) for layer in layers)
        )
        layers[0] = _like(layers[0], video_dim)
    else:
        layers[0] = _like(layers[0], fusion.output_dim)
    model.fusion = fusion


class FusedVideo:
    """One forward's video on its way through the fusion.

    Args:
        model: upstream's, after :func:`attach`.
        video: (B, L, Dv) with mask (B, L), 1 = valid; likewise ``text`` and, on the clips of the video, ``audio``.

    Raises:
        DataError: the batch has no audio.
    """

    def __init__(
        self,
        model: nn.Module,
        video: Tensor,
        video_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        audio: Tensor | None,
        audio_mask: Tensor | None,
    ) -> None:
        if audio is None or audio_mask is None:
            raise DataError(f"{type(model.fusion).__name__} needs audio, but the batch has none: give --a_feat_dir")
        self._model, self._raw = model, model.fusion.placement == "input"
        self._video, self._audio, self._text = video, audio, text
        self._masks = {"x_mask": video_mask.bool(), "context_mask": audio_mask.bool()}
        self._text_mask = text_mask.bool()

    def unprojected(self) -> Tensor:
        """What goes into the projection of the video."""
        return self._fuse(self._text, self._text_mask) if self._raw else self._video

    def projected(self, video: Tensor, words: Tensor) -> Tensor:
        """What goes on to the transformer, (B, L, D), from projected ``video`` and ``words``."""
        if self._raw:
            return video
        self._video, self._audio = video, self._model.input_aud_proj(self._audio)
        return self._fuse(words, self._text_mask)

    def beside_next_text(self, video: Tensor, words: Tensor, words_mask: Tensor) -> Tensor:
        """The video of negative pairs: fused anew where the text steers the gates, else ``video`` itself.

        Args:
            video: what went to the transformer.
            words: projected text of each next sample, (B, N, D), with mask (B, N), 1 = valid.
        """
        if not self._model.fusion.uses_condition:
            return video
        if not self._raw:
            return self._fuse(words, words_mask.bool())
        return self._model.input_vid_proj(self._fuse(torch.roll(self._text, -1, 0), words_mask.bool()))

    def _fuse(self, condition: Tensor, condition_mask: Tensor) -> Tensor:
        fused: Tensor = self._model.fusion(
            x=self._video, context=self._audio, condition=condition, condition_mask=condition_mask, **self._masks
        )
        return fused


def _like(layer: Any, width: int | None) -> nn.Module:
    """A layer of upstream's own class as ``layer``, fresh, for inputs of ``width`` (``None``: the same)."""
    dropout, linear = layer.net
    built: nn.Module = type(layer)(
        width or linear.in_features, linear.out_features, layer.layer_norm, dropout.p, layer.relu
    )
    return built
