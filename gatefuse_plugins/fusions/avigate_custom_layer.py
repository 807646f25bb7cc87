"""One layer of the AVIGATE custom fusion: gated audio, gated FFN, refining self-attention and FFN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.fusions.avigate_custom_gates import AvigateGates, GateOptions, Shared


class AvigateCustomLayer(nn.Module):
    """See the formulas of :mod:`gatefuse_plugins.fusions.avigate_custom`; parameter names are upstream's.

    Args:
        dim: width D of both streams.
        num_heads: heads of the refining self-attention; they divide D.
        options: of the gates.
        layer: 0-based layer index, for the taps.
        dropout: on the four residual branches.
    """

    def __init__(self, dim: int, num_heads: int, options: GateOptions, layer: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.gating_function = AvigateGates(dim, options, layer)
        self.a_proj, self.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.ffn1, self.ffn2 = _feed_forward(dim), _feed_forward(dim)
        normed = options.generation == "sigmoid"
        self.delta_norm_mha = nn.LayerNorm(dim) if normed else nn.Identity()
        self.delta_norm_ffn = nn.LayerNorm(dim) if normed else nn.Identity()
        # holds the parameters under upstream's names, with its initialisation; see _refine for its use
        self.self_attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, video: Tensor, shared: Shared) -> Tensor:
        """Video (B, L, D) -> (B, L, D)."""
        attention_gate, ffn_gate, shift = self.gating_function(video, shared)
        z = torch.addcmul(video, attention_gate, self.dropout(self.delta_norm_mha(self._value(shared.audio))))
        delta = self.dropout(self.delta_norm_ffn(self.ffn1(self.norm2(z))))
        z = torch.addcmul(z, ffn_gate, delta) if shift is None else torch.addcmul(z + shift, 1 + ffn_gate, delta)
        z = z + self.dropout(self._refine(self.norm3(z), shared.key_mask))
        return z + self.dropout(self.ffn2(self.norm4(z)))

    def _value(self, audio: Tensor) -> Tensor:
        """Value-only attention: clip l takes the audio of clip l.

        So heads, both projections and norm1's affine part are one linear map, made anew from the weights each time.
        """
        weight = self.out_proj.weight @ (self.a_proj.weight * self.norm1.weight)
        inner = torch.addmv(self.a_proj.bias, self.a_proj.weight, self.norm1.bias)
        return F.linear(audio, weight, torch.addmv(self.out_proj.bias, self.out_proj.weight, inner))

    def _refine(self, x: Tensor, key_mask: Tensor | None) -> Tensor:
        """Multi-head self-attention without the weights that nobody reads."""
        attention, heads = self.self_attention, self.num_heads
        qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = qkv.unflatten(-1, (3, heads, x.shape[-1] // heads)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask)
        return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _feed_forward(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(inplace=True), nn.Linear(4 * dim, dim))
