"""A linear layer over ``[x | c]`` that never builds the concatenation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConcatLinear(nn.Linear):
    """``W [x | c] + b`` with ``x`` per token and ``c`` per sample.

    ``W [x | c] = W_x x + W_c c``: the second term is the same for all tokens of a sample, so it acts once a sample
    instead of once a token, and the (B, L, Dx + Dc) concatenation is never stored. The weight keeps the shape of
    the plain layer, (out, Dx + Dc), so checkpoints of ``nn.Linear`` over a concatenation load unchanged.

    Args:
        x_features: width Dx of the per-token input.
        context_features: width Dc of the per-sample input.
        out_features: output width.
    """

    def __init__(self, x_features: int, context_features: int, out_features: int) -> None:
        super().__init__(x_features + context_features, out_features)
        self.x_features = x_features

    def forward(self, x: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        """``x`` (B, L, Dx), ``context`` (B, Dc) -> (B, L, out)."""
        per_token, per_sample = self.weight.split((self.x_features, self.in_features - self.x_features), dim=1)
        shift = F.linear(context, per_sample, self.bias).unsqueeze(1)
        if torch.is_grad_enabled():
            return F.linear(x, per_token) + shift
        return F.linear(x, per_token).add_(shift)
