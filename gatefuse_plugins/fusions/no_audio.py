"""What a fusion does with a sample that has no audio: refuse it, or use a learned state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError, suggestion

NO_AUDIO = ("error", "learned")


class NoAudio(nn.Module):
    """Finds samples without audio, and holds what is learned about them.

    A sample has no audio where its row of the audio mask is all False while its video has valid clips. A sample
    without valid clips is padding, and lacks nothing.

    Args:
        policy: ``error`` refuses such samples; ``learned`` marks them with the vector ``state``, which starts at 0.
        dim: width of ``state``.

    Raises:
        ConfigError: unknown ``policy``.
    """

    def __init__(self, policy: str, dim: int) -> None:
        super().__init__()
        if policy not in NO_AUDIO:
            raise ConfigError(f"no_audio {policy!r} is unknown{suggestion(policy, NO_AUDIO)}")
        self.register_parameter("state", nn.Parameter(torch.zeros(dim)) if policy == "learned" else None)

    def forward(self, x_mask: Tensor | None, context_mask: Tensor | None) -> Tensor | None:
        """Samples without audio, (B, 1, 1) bool, from masks (B, L) and (B, M); ``None`` where there can be none.

        Raises:
            DataError: there are such samples and the policy is ``error``; the message names their rows.
        """
        if context_mask is None:
            return None
        missing = ~context_mask.any(dim=1)
        if x_mask is not None:
            missing = missing & x_mask.any(dim=1)
        if self.state is None:
            if missing.any():
                rows = ", ".join(map(str, missing.nonzero().flatten().tolist()))
                raise DataError(
                    f"samples without audio in the batch, rows {rows}: their audio mask is all False; give them audio"
                    " features, or set no_audio='learned' in the fusion's config"
                )
            return None
        return missing[:, None, None]


def check_aligned(x: Tensor, context: Tensor) -> None:
    """Video ``x`` (B, L, D) and audio ``context`` (B, L, C) must lie on one time axis.

    Raises:
        DataError: batch sizes or lengths differ.
    """
    if x.shape[:2] != context.shape[:2]:
        raise DataError(
            f"video of shape {tuple(x.shape)} and audio of shape {tuple(context.shape)} differ in samples or clips;"
            " expected one audio vector a clip (cut or resample the audio first)"
        )
