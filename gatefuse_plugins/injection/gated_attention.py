"""A gated cross-attention as a new branch (Flamingo, Alayrac et al., NeurIPS 2022, section 3.1.2).

x' = x + tanh(a) Attention(LN(x), context)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.registry import FUSIONS


@FUSIONS.register_module()
class GatedCrossAttention(Fusion):
    """Every position of x attends to the context; ``a`` starts at 0, so the host is unchanged at step 0.

    Args:
        dim: width D of x.
        context_dim: width C of the context, D by default.
        num_heads: heads; divides D.
        dropout: rate on the attention weights.

    Raises:
        ConfigError: the heads do not divide D.
    """

    def __init__(self, dim: int, context_dim: int | None = None, num_heads: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ConfigError(f"GatedCrossAttention num_heads={num_heads} does not divide dim={dim}")
        width = context_dim or dim
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout, kdim=width, vdim=width, batch_first=True)
        self.raw = nn.Parameter(torch.zeros(1, 1, 1))
        self.tap = GateTap("attention", -1.0, 1.0)

    @classmethod
    def from_widths(cls, image_dim: int, text_dim: int) -> GatedCrossAttention:
        """See :meth:`Fusion.from_widths`."""
        return cls(image_dim, text_dim)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        x_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> Tensor:
        """``x`` (B, L, D), ``context`` (B, M, C) -> (B, L, D); a sample whose context is all padding is unchanged."""
        padding = None
        if context_mask is not None:  # a softmax over nothing is NaN: such a row attends, and its branch is zeroed
            padding = ~context_mask & context_mask.any(dim=1, keepdim=True)
        branch, _weights = self.attention(self.norm(x), context, context, key_padding_mask=padding, need_weights=False)
        if context_mask is not None:
            branch = torch.where(context_mask.any(dim=1)[:, None, None], branch, branch.new_zeros(()))
        return x + self.tap(torch.tanh(self.raw)) * branch
