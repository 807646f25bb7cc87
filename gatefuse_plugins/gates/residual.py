"""A gate on a branch that the host already has: times 1 + tanh(a), which is 1 at the start.

The zero-initialised tanh gate of Flamingo (Alayrac et al., NeurIPS 2022), moved from a new branch to an existing one,
whose neutral value is 1 instead of 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.gates.ownership import OwnsGateParameters
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.registry import GATES

RESIDUAL_GRANULARITIES = ("scalar", "global", "clipwise", "elementwise")


@GATES.register_module()
class ResidualGate(OwnsGateParameters):
    """``branch * (1 + tanh(a))``, in (0, 2); bit-identical to ``branch`` until the first training step.

    ``scalar``: a is one learned number. Otherwise a = Linear(ReLU(Linear(branch))) with the last layer starting at 0:
    ``global`` from the mean over valid positions, (B, 1, 1); ``clipwise`` (B, L, 1); ``elementwise`` (B, L, D). The
    tap's neutral value is 1: at it the host is unchanged.

    Args:
        dim: width D of the branch; not needed for ``scalar``.
        granularity: one of ``RESIDUAL_GRANULARITIES``.
        hidden_dim: width of the hidden layer, D / 2 by default.
        kind: kind of the tap (see :class:`~gatefuse_plugins.gates.tap.GateTap`).
        layer: 0-based layer index for the tap.

    Raises:
        ConfigError: unknown granularity, or one that needs ``dim`` without it.
    """

    def __init__(
        self,
        dim: int | None = None,
        granularity: str = "scalar",
        hidden_dim: int | None = None,
        kind: str = "attention",
        layer: int | None = None,
    ) -> None:
        super().__init__()
        if granularity not in RESIDUAL_GRANULARITIES:
            hint = suggestion(granularity, RESIDUAL_GRANULARITIES)
            raise ConfigError(f"ResidualGate granularity {granularity!r} is unknown{hint}")
        self.granularity = granularity
        self.head: nn.Sequential | None = None
        if granularity == "scalar":
            self.raw = nn.Parameter(torch.zeros(1, 1, 1))
        elif dim is None:
            raise ConfigError(f"ResidualGate granularity {granularity!r} needs dim, the branch's width; it is None")
        else:
            hidden = hidden_dim or max(1, dim // 2)
            last = nn.Linear(hidden, dim if granularity == "elementwise" else 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.head = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(inplace=True), last)
        self.tap = GateTap(kind, 0.0, 2.0, neutral=1.0, layer=layer)

    def forward(self, branch: Tensor, mask: Tensor | None = None) -> Tensor:
        """``branch`` (B, L, D) gated; ``mask`` (B, L), True = valid."""
        if self.head is None:
            return branch * self.tap(1 + torch.tanh(self.raw))
        if self.granularity == "global":
            return branch * self.tap(1 + torch.tanh(self.head(masked_mean(branch, mask))).unsqueeze(1))
        return branch * self.tap(1 + torch.tanh(self.head(branch)), mask)
