"""Audio as more video features: concatenated clip by clip, in front of the video projection.

What QD-DETR does with audio (Moon et al., CVPR 2023; ``qd_detr/model.py`` of wjun0830/QD-DETR, audio branch).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.fusions.no_audio import NoAudio, check_aligned
from gatefuse_plugins.registry import FUSIONS


@FUSIONS.register_module()
class Concat(Fusion):
    """``x' = [x | context]``; the one fusion without gates, and the one whose output is wider than ``x``.

    Args:
        video_dim: width of the raw video features.
        audio_dim: width of the raw audio features.
        no_audio: ``error`` refuses samples without audio; ``learned`` puts a learned vector in the audio's place, the
            only parameters that this fusion may have.

    Attributes:
        output_dim: width of the output, ``video_dim + audio_dim``.

    Raises:
        ConfigError: unknown ``no_audio``.
    """

    placement: ClassVar[str | None] = "input"
    gated: ClassVar[bool] = False

    def __init__(self, video_dim: int, audio_dim: int, no_audio: str = "error") -> None:
        super().__init__()
        self.video_dim, self.audio_dim = video_dim, audio_dim
        self.output_dim = video_dim + audio_dim
        self.no_audio = NoAudio(no_audio, audio_dim)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        x_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> Tensor:
        """Video ``x`` (B, L, Dv), audio ``context`` (B, L, Da) -> (B, L, Dv + Da); see :class:`Fusion`.

        Raises:
            DataError: a width or length does not fit, or a sample has no audio and ``no_audio`` is ``error``.
        """
        check_aligned(x, context)
        for name, tensor, expected in (("video", x, self.video_dim), ("audio", context, self.audio_dim)):
            if tensor.shape[-1] != expected:
                raise DataError(
                    f"Concat was built for {name}_dim={expected}, but the {name} features are {tensor.shape[-1]} wide"
                    f" (shape {tuple(tensor.shape)}); set {name}_dim={tensor.shape[-1]}"
                )
        missing = self.no_audio(x_mask, context_mask)
        if context_mask is not None:
            context = context.masked_fill(~context_mask.unsqueeze(-1), 0.0)
        if missing is not None:
            valid = missing if x_mask is None else missing & x_mask.unsqueeze(-1)
            context = torch.where(valid, self.no_audio.state, context)
        return torch.cat([x, context], dim=-1)
