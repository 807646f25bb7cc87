"""A gated feed-forward network as a new branch (Flamingo, Alayrac et al., NeurIPS 2022, section 3.1.2).

x' = x + tanh(a) FFN(LN(x))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.gates.ownership import OwnsGateParameters
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.registry import GATES


@GATES.register_module()
class GatedFeedForward(OwnsGateParameters):
    """``a`` starts at 0, so the host is unchanged at step 0.

    Args:
        dim: width D.
        hidden_dim: hidden width, 4 D by default.
        dropout: rate after the activation.
        layer: 0-based layer index for the tap.
    """

    def __init__(self, dim: int, hidden_dim: int | None = None, dropout: float = 0.0, layer: int | None = None) -> None:
        super().__init__()
        hidden = hidden_dim or 4 * dim
        self.network = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )
        self.raw = nn.Parameter(torch.zeros(1, 1, 1))
        self.tap = GateTap("ffn", -1.0, 1.0, layer=layer)

    def forward(self, branch: Tensor, mask: Tensor | None = None) -> Tensor:
        """``branch`` (B, L, D) with the new network's output added."""
        return branch + self.tap(torch.tanh(self.raw)) * self.network(branch)
