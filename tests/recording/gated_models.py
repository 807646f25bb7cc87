"""Small models whose gate values a test can choose."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.gates.tap import GateTap


class Direct(nn.Module):
    """Passes its input through one tap."""

    def __init__(self, low: float | None = -1.0, high: float | None = 1.0) -> None:
        super().__init__()
        self.tap = GateTap("attention", low, high)

    def forward(self, value: Tensor, mask: Tensor | None = None, qid: list[str] | None = None) -> Tensor:
        return self.tap(value, mask)


class Layered(nn.Module):
    """Two layers of an attention gate (B, L, D) and an FFN gate (B, 1, 1), the second a half of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleList(GateTap("attention", -1.0, 1.0, layer=layer) for layer in range(2))
        self.ffn = nn.ModuleList(GateTap("ffn", None, None, layer=layer) for layer in range(2))

    def forward(self, value: Tensor, mask: Tensor | None = None, passes: int = 1) -> Tensor:
        for _ in range(passes):
            for layer, (attention, ffn) in enumerate(zip(self.attention, self.ffn, strict=True)):
                attention(value / (layer + 1), mask)
                ffn(value[:, :1, :1] / (layer + 1))
        return value


def gate_values(size: int, length: int = 5, width: int = 3, seed: int = 0) -> Tensor:
    """(B, L, D) in (-1, 1)."""
    return torch.tanh(torch.randn(size, length, width, generator=torch.Generator().manual_seed(seed)))
