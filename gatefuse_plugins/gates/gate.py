"""evidence -> raw -> value: the gate that fusions are built from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.ownership import OwnsGateParameters
from gatefuse_plugins.gates.tap import GateTap

GRANULARITIES = ("global", "clipwise", "elementwise", "headwise")


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of ``x`` (B, L, D) over positions where ``mask`` (B, L) is True -> (B, D); no valid position gives 0."""
    if mask is None:
        return x.mean(dim=1)
    weight = mask.to(x.dtype).unsqueeze(-1)
    # where, not multiplication: padding may hold inf or nan, and nan * 0 is nan
    total = torch.where(mask.unsqueeze(-1), x, x.new_zeros(())).sum(dim=1)
    return total / weight.sum(dim=1).clamp_min(1.0)


class Gate(OwnsGateParameters):
    """A learned gate over two or more aligned streams.

    Evidence is the concatenation of the streams along features, averaged over valid positions for ``global`` and
    ``headwise``. The head is Linear, ReLU, Linear. Values have shape ``global`` (B, 1, 1), ``clipwise`` (B, L, 1),
    ``elementwise`` (B, L, D), ``headwise`` (B, H, 1, 1).

    Args:
        evidence_dim: summed width of the streams.
        squash: maps raw values to gate values; gives the range through ``low`` and ``high``.
        hidden_dim: width of the head's hidden layer.
        granularity: one of ``GRANULARITIES``.
        feature_dim: D, needed for ``elementwise``.
        num_heads: H, needed for ``headwise``.
        kind: kind of the tap (see :class:`GateTap`).
        layer: 0-based layer index for the tap.

    Raises:
        ConfigError: unknown granularity, or the width it needs is missing.
    """

    def __init__(
        self,
        evidence_dim: int,
        squash: nn.Module,
        hidden_dim: int,
        granularity: str = "global",
        feature_dim: int | None = None,
        num_heads: int | None = None,
        kind: str = "attention",
        layer: int | None = None,
    ) -> None:
        super().__init__()
        if granularity not in GRANULARITIES:
            raise ConfigError(f"granularity {granularity!r} is unknown{suggestion(granularity, GRANULARITIES)}")
        widths = {"global": 1, "clipwise": 1, "elementwise": feature_dim, "headwise": num_heads}
        out_dim = widths[granularity]
        if out_dim is None:
            needed = "feature_dim" if granularity == "elementwise" else "num_heads"
            raise ConfigError(f"granularity {granularity!r} needs {needed}, which is None")
        self.granularity = granularity
        self.head = nn.Sequential(
            nn.Linear(evidence_dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, out_dim)
        )
        self.squash = squash
        low, high = getattr(squash, "low", None), getattr(squash, "high", None)
        self.tap = GateTap(kind, low, high, neutral=0.0, layer=layer)

    def forward(self, *streams: Tensor, mask: Tensor | None = None) -> Tensor:
        """Streams (B, L, D_i) of equal B and L, ``mask`` (B, L) True = valid -> gate value."""
        evidence = torch.cat(streams, dim=-1)
        pooled = self.granularity in ("global", "headwise")
        if pooled:
            evidence = masked_mean(evidence, mask)
        value = self.squash(self.head(evidence))
        if self.granularity == "global":
            value = value[:, None, :]
        elif self.granularity == "headwise":
            value = value[:, :, None, None]
        return self.tap(value, None if pooled else mask)
