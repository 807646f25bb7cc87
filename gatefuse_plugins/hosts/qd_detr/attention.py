"""Multi-head attention, batch-first, with the parameter names of ``nn.MultiheadAttention``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.hosts.qd_detr.dropout import Dropout, drop_unscaled


def attendable(mask: Tensor) -> Tensor:
    """Key mask (..., M) in which a row without any valid key allows all of them.

    A softmax over nothing is NaN. Padding is zero before the first layer, so what such a row attends to is the same
    whatever the padding held.
    """
    return mask | ~mask.any(dim=-1, keepdim=True)


def attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int, mask: Tensor, dropout: float = 0.0) -> Tensor:
    """Softmax attention of projected streams.

    Args:
        query: (B, L, E), its heads one after the other along features; likewise ``key`` (B, M, E).
        value: (B, M, D); D may differ from E.
        mask: True = may be attended to, broadcastable to (B, H, L, M); no row may be all False.
        dropout: rate on the attention weights.

    Returns:
        (B, L, D).
    """
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    if dropout and q.device.type == "cpu":  # torch has no fused kernel for it either
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
        weights = scores.masked_fill_(~mask, -math.inf).softmax(dim=-1)
        weights, scale = drop_unscaled(weights, dropout)
        mixed = weights @ (v * scale)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return mixed.transpose(1, 2).flatten(-2)


class PackedAttention(nn.Module):
    """Attention whose query, key and value projections are one weight.

    Args:
        dim: width D of all streams.
        num_heads: heads; divides ``dim``.
        dropout: rate on the attention weights.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend from ``query`` (B, L, D) to ``key`` and ``value`` (B, M, D); ``mask`` as in :func:`attend`."""
        dim = query.shape[-1]
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is key:
            q, k = F.linear(query, weight[: 2 * dim], bias[: 2 * dim]).chunk(2, dim=-1)
        else:
            q = F.linear(query, weight[:dim], bias[:dim])
            k = F.linear(key, weight[dim : 2 * dim], bias[dim : 2 * dim])
        v = F.linear(value, weight[2 * dim :], bias[2 * dim :])
        return self.out_proj(attend(q, k, v, self.num_heads, mask, self.dropout if self.training else 0.0))


class UnprojectedAttention(nn.Module):
    """Attention of streams that the caller has projected (DAB-DETR); only the output projection is here."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """See :func:`attend`; ``value`` (B, M, D) has the width of the output."""
        return self.out_proj(attend(query, key, value, self.num_heads, mask, self.dropout if self.training else 0.0))


class FewQueriesAttention(nn.Module):
    """Cross-attention from few queries to many clips that never projects the clips.

    q . (W c + b) = (W' q) . c + q . b, and the mean of projected values is the projected mean; so projections of keys
    and values are applied on the queries' side, which is cheaper while heads times queries are fewer than D.

    Args:
        dim: width D.
        num_heads: heads H.
        dropout: rate on the attention weights.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, matches: Sequence[tuple[Tensor, nn.Linear, Tensor]], value_proj: nn.Linear, values: Tensor, mask: Tensor
    ) -> Tensor:
        """Attend.

        Args:
            matches: each a projected query (B, Q, D), the projection of its keys, and the keys (B, L, D). The scores
                are added up, as if the heads of all queries, and of all keys, lay side by side.
            value_proj: projection of ``values`` (B, L, D).
            mask: True = may be attended to, broadcastable to (B, H * Q, L); no row may be all False.
        """
        width = sum(query.shape[-1] for query, _linear, _keys in matches) // self.num_heads
        scores = sum(self._scores(*match) for match in matches) / math.sqrt(width)
        weights = self.dropout(torch.masked_fill(scores, ~mask, -math.inf).softmax(dim=-1))
        mixed, total = (x.unflatten(1, (self.num_heads, -1)) for x in (weights @ values, weights.sum(-1, keepdim=True)))
        projected = torch.einsum("bhqm,hdm->bqhd", mixed, self._by_head(value_proj.weight))
        # dropout makes the weights' total differ from 1, and the bias is part of what is weighted
        return self.out_proj((projected + total.transpose(1, 2) * self._by_head(value_proj.bias)).flatten(-2))

    def _scores(self, query: Tensor, key_proj: nn.Linear, keys: Tensor) -> Tensor:
        """(B, H * Q, L)."""
        heads = query.unflatten(-1, (self.num_heads, -1))
        towards = torch.einsum("bqhd,hdm->bhqm", heads, self._by_head(key_proj.weight)).flatten(1, 2)
        offset = torch.einsum("bqhd,hd->bhq", heads, self._by_head(key_proj.bias)).flatten(1, 2)
        return towards @ keys.transpose(1, 2) + offset.unsqueeze(-1)

    def _by_head(self, parameter: Tensor) -> Tensor:
        return parameter.unflatten(0, (self.num_heads, -1))
