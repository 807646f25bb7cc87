"""Layer-aware gating: later layers get a smaller share of the gate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gatefuse_plugins.gates.ownership import OwnsGateParameters
from gatefuse_plugins.gates.tap import GateTap


class LayerDecay(OwnsGateParameters):
    """Multiply a gate of range (-1, 1) by a factor of its layer; the product passes a tap of its own.

    ``fixed``: 1 - l / L with l 0-based, so the first layer keeps all and the last 1 / L. Learnable: the sigmoid of one
    parameter, which starts at 1 - (l + 1/2) / L, half a step below the fixed factor, where the sigmoid has a finite
    inverse for every layer.

    Args:
        layer: l, 0-based.
        num_layers: L.
        learnable: learn the factor.
        kind: see :class:`GateTap`.
    """

    def __init__(self, layer: int, num_layers: int, learnable: bool = False, kind: str = "attention") -> None:
        super().__init__()
        self.fixed = 1 - layer / num_layers
        start = 1 - (layer + 0.5) / num_layers
        self.logit = nn.Parameter(torch.tensor(math.log(start / (1 - start)))) if learnable else None
        bound = 1.0 if learnable else self.fixed
        self.tap = GateTap(kind, -bound, bound, layer=layer)

    @property
    def factor(self) -> Tensor | float:
        """The layer's share, in (0, 1]."""
        return self.fixed if self.logit is None else self.logit.sigmoid()

    def forward(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Gate value, any shape; ``mask`` goes to the tap."""
        return self.tap(value * self.factor, mask)
