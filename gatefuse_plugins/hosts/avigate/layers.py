"""Layers of AVIGATE's two transformers, under upstream's parameter names (``modules/module_cross.py``)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.gates.query_gate import quick_gelu

LAYER_NORM_EPS = 1e-12


def layer_norm(dim: int) -> nn.LayerNorm:
    return nn.LayerNorm(dim, eps=LAYER_NORM_EPS)


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return quick_gelu(x)


def feed_forward(dim: int, prefix: str = "c", bias: bool = True) -> nn.Sequential:
    """Linear, QuickGELU, Linear, four times as wide inside; layers ``{prefix}_fc`` and ``{prefix}_proj``."""
    return nn.Sequential(
        OrderedDict(
            [
                (f"{prefix}_fc", nn.Linear(dim, 4 * dim, bias=bias)),
                (f"{prefix}_gelu", QuickGELU()),
                (f"{prefix}_proj", nn.Linear(4 * dim, dim, bias=bias)),
            ]
        )
    )


class Attention(nn.Module):
    """Multi-head attention in steps, so that keys and values that many queries share are projected once.

    Parameters are those of ``nn.MultiheadAttention``.

    Args:
        dim: width D, a multiple of ``num_heads``.
        num_heads: H.
        temperature: divides the logits, on top of the square root of the head's width.
    """

    def __init__(self, dim: int, num_heads: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5 / temperature
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def queries(self, x: Tensor) -> Tensor:
        """Queries of all heads (B, H, L, D / H) from ``x`` (B, L, D), or from an input a head (B, H, L, D)."""
        dim = x.shape[-1]
        weight, bias = self.in_proj_weight[:dim], self.in_proj_bias[:dim]
        if x.dim() == 3:
            return self._split(F.linear(x, weight, bias), 1)[0]
        # einsum, for matmul would copy the weight once a sample
        projected = torch.einsum("bhld,hed->bhle", x, weight.view(self.num_heads, -1, dim))
        return projected + bias.view(self.num_heads, 1, -1)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """``memory`` (B, M, D) -> keys and values, (B, H, M, D / H) each."""
        dim = memory.shape[-1]
        keys, values = self._split(F.linear(memory, self.in_proj_weight[dim:], self.in_proj_bias[dim:]), 2)
        return keys, values

    def read(self, queries: Tensor, keys: Tensor, values: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """What each head reads, (B, H, L, D / H). ``key_mask`` (B, M) True = valid, at least one a sample."""
        mask = None if key_mask is None else key_mask[:, None, None, :]
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=self.scale)

    def merge(self, heads: Tensor) -> Tensor:
        """(B, H, L, D / H) -> (B, L, D), through the output projection."""
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Self-attention over ``x`` (B, L, D)."""
        queries, keys, values = self._split(F.linear(x, self.in_proj_weight, self.in_proj_bias), 3)
        return self.merge(self.read(queries, keys, values, key_mask))

    def _split(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        batch, length, _ = projected.shape
        return projected.view(batch, length, parts, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class AttentionPool(nn.Module):
    """Weighted mean over positions by a learned score; the score starts at 0, which is the masked mean."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` (B, L, D), ``mask`` (B, L) True = valid -> (B, D); no valid position gives 0."""
        logits = self.score(x).squeeze(-1)
        if mask is None:
            return (logits.softmax(dim=1)[:, None, :] @ x).squeeze(1)
        weight = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(dim=1) * mask
        return (weight[:, None, :] @ x.masked_fill(~mask[..., None], 0.0)).squeeze(1)


class MeanPool(nn.Module):
    """Masked mean over positions, as :class:`AttentionPool`."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return masked_mean(x, mask)
