"""Tanh gate: range (-1, 1), neutral at 0; the first published generation of audio gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.gates.gate import Gate
from gatefuse_plugins.registry import GATES


class TanhSquash(nn.Module):
    """``tanh(raw)``."""

    low = -1.0
    high = 1.0

    def forward(self, raw: Tensor) -> Tensor:
        """Any shape, elementwise."""
        return torch.tanh(raw)


@GATES.register_module()
class TanhGate(Gate):
    """:class:`Gate` with a tanh squash (AVIGATE, CVPR 2025, gated fusion block); arguments as there."""

    def __init__(self, evidence_dim: int, hidden_dim: int, **gate_options: Any) -> None:
        super().__init__(evidence_dim, TanhSquash(), hidden_dim, **gate_options)
