"""What a batch brings: its streams, checks of their shapes, its padding."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.fusions.base import Fusion

COMPAT = ("upstream",)
PLACEMENTS = ("input", "projected")


class Streams(NamedTuple):
    """Features (B, L, D) and boolean masks (B, L), True = valid; audio lies on the clips of the video."""

    video: Tensor
    video_mask: Tensor
    text: Tensor
    text_mask: Tensor
    audio: Tensor | None = None
    audio_mask: Tensor | None = None

    def rolled(self) -> Streams:
        """Each sample with the text of the next one, the last with that of the first."""
        return self._replace(text=self.text.roll(-1, 0), text_mask=self.text_mask.roll(-1, 0))


def check_options(hidden_dim: int, nheads: int, compat: str | None) -> None:
    """Options of the network that have to agree.

    Raises:
        ConfigError: lists every fault.
    """
    faults = []
    if hidden_dim % 2 or hidden_dim % nheads:
        faults.append(f"hidden_dim={hidden_dim} must be even and a multiple of nheads={nheads}")
    if compat is not None and compat not in COMPAT:
        faults.append(f"compat={compat!r} is unknown; valid: None, {', '.join(map(repr, COMPAT))}")
    if faults:
        raise ConfigError("QDDETR: " + "; ".join(faults))


def check_fusion(fusion: Fusion, audio_dim: int | None) -> int:
    """The width of the audio features for ``fusion``.

    Raises:
        ConfigError: it is no fusion of video and audio, or there is no width.
    """
    name = type(fusion).__name__
    if fusion.placement not in PLACEMENTS:
        raise ConfigError(
            f"QDDETR: {name} is no fusion of video and audio (its placement is {fusion.placement!r}; expected one of"
            f" {', '.join(map(repr, PLACEMENTS))})"
        )
    if audio_dim is None:
        raise ConfigError(f"QDDETR: fusion {name} needs audio_dim, the width of the audio features")
    return audio_dim


def check_streams(streams: Streams, video_dim: int, text_dim: int, audio_dim: int | None) -> None:
    """Features are as wide as the model was made for, masks as long as features; ``audio_dim`` None: no audio used.

    Raises:
        DataError: names the stream, what was found and what was expected.
    """
    _check_stream("video", streams.video, streams.video_mask, video_dim)
    _check_stream("text", streams.text, streams.text_mask, text_dim)
    if audio_dim is None:
        return
    if streams.audio is None or streams.audio_mask is None:
        raise DataError(
            "the model's fusion needs 'audio' and 'audio_mask', but the batch has none; name audio_features in the"
            " dataset, or set fusion=None"
        )
    _check_stream("audio", streams.audio, streams.audio_mask, audio_dim)


def _check_stream(name: str, features: Tensor, mask: Tensor, width: int) -> None:
    if features.dim() != 3 or features.shape[-1] != width:
        raise DataError(
            f"{name} features have shape {tuple(features.shape)}; expected (batch, length, {width}): the model was made"
            f" with {name}_dim={width}"
        )
    if mask.shape != features.shape[:2]:
        raise DataError(
            f"{name}_mask has shape {tuple(mask.shape)}; expected {tuple(features.shape[:2])}, that of the features"
        )
    if not features.shape[1]:
        raise DataError(f"{name} features of shape {tuple(features.shape)} have no position; pad them to at least one")


def keep_valid(features: Tensor, mask: Tensor) -> Tensor:
    """``features`` (B, L, D) with zeros at padding: what stood there, NaN included, reaches no result or gradient."""
    if features.device.type == "cpu" and bool(mask.all()):  # elsewhere asking costs more than the copy
        return features
    return features.masked_fill(~mask.unsqueeze(-1), 0)
