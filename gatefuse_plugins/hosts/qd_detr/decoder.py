"""DAB-style decoder: queries are windows (center, width) that each layer refines (Liu et al., ICLR 2022)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gatefuse_plugins.hosts.qd_detr.activation import ScalarPReLU
from gatefuse_plugins.hosts.qd_detr.attention import FewQueriesAttention, UnprojectedAttention
from gatefuse_plugins.hosts.qd_detr.dropout import Dropout
from gatefuse_plugins.hosts.qd_detr.position import window_positions
from gatefuse_plugins.hosts.qd_detr.projection import MLP


def inverse_sigmoid(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Logit of ``x``, with ``x`` and 1 - ``x`` at least ``eps``."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


class Memory(NamedTuple):
    """What queries look at: encoded clips and their positions (B, L, D), ``mask`` (B, 1, L) without empty row."""

    clips: Tensor
    position: Tensor
    mask: Tensor


class DecoderLayer(nn.Module):
    """Self-attention of the queries, conditional cross-attention to the clips, feed-forward network.

    Args:
        dim: width D.
        num_heads: attention heads.
        dim_feedforward: hidden width of the feed-forward network.
        dropout: rate of all dropouts.
        first: the first layer adds the queries' positions to content in the cross-attention too.
    """

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int, dropout: float, first: bool) -> None:
        super().__init__()
        self.sa_qcontent_proj = nn.Linear(dim, dim)
        self.sa_qpos_proj = nn.Linear(dim, dim)
        self.sa_kcontent_proj = nn.Linear(dim, dim)
        self.sa_kpos_proj = nn.Linear(dim, dim)
        self.sa_v_proj = nn.Linear(dim, dim)
        self.self_attn = UnprojectedAttention(dim, num_heads, dropout)
        self.ca_qcontent_proj = nn.Linear(dim, dim)
        self.ca_qpos_proj = nn.Linear(dim, dim) if first else None
        self.ca_kcontent_proj = nn.Linear(dim, dim)
        self.ca_kpos_proj = nn.Linear(dim, dim)
        self.ca_v_proj = nn.Linear(dim, dim)
        self.ca_qpos_sine_proj = nn.Linear(dim, dim)
        self.cross_attn = FewQueriesAttention(dim, num_heads, dropout)
        self.linear1 = nn.Linear(dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)
        self.activation = ScalarPReLU()
        self.dropout = Dropout(dropout)

    def forward(self, queries: Tensor, position: Tensor, sine: Tensor, memory: Memory) -> Tensor:
        """Queries (B, Q, D), their learned ``position`` and the ``sine`` embedding of their windows -> (B, Q, D)."""
        everyone = queries.new_ones((1, 1, 1, queries.shape[1]), dtype=torch.bool)
        q = self.sa_qcontent_proj(queries) + self.sa_qpos_proj(position)
        k = self.sa_kcontent_proj(queries) + self.sa_kpos_proj(position)
        attended = self.self_attn(q, k, self.sa_v_proj(queries), everyone)
        queries = self.norm1(queries + self.dropout(attended))
        queries = self.norm2(queries + self.dropout(self._look(queries, position, sine, memory)))
        hidden = self.dropout(self.activation(self.linear1(queries)))
        return self.norm3(queries + self.dropout(self.linear2(hidden)))

    def _look(self, queries: Tensor, position: Tensor, sine: Tensor, memory: Memory) -> Tensor:
        """Cross-attention (B, Q, D): content meets content, the windows' sine embedding meets the clips' positions."""
        content, place = self.ca_qcontent_proj(queries), self.ca_qpos_sine_proj(sine)
        if self.ca_qpos_proj is not None:  # content of queries and clips alike has the position added
            content = content + self.ca_qpos_proj(position)
            place = place + content
        matches = [(content, self.ca_kcontent_proj, memory.clips), (place, self.ca_kpos_proj, memory.position)]
        return self.cross_attn(matches, self.ca_v_proj, memory.clips, memory.mask)


class Decoder(nn.Module):
    """Layers with shared heads for positions and for the refinement of windows.

    Args:
        dim: width D, even.
        num_layers: layers.
        num_heads: attention heads.
        dim_feedforward: hidden width of the feed-forward networks.
        dropout: rate of all dropouts.
    """

    def __init__(self, dim: int, num_layers: int, num_heads: int, dim_feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(dim, num_heads, dim_feedforward, dropout, first=index == 0) for index in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.query_scale = MLP(dim, dim, dim, 2)
        self.ref_point_head = MLP(dim, dim, dim, 2)
        self.bbox_embed = MLP(dim, dim, 2, 3)
        self.ref_anchor_head = MLP(dim, dim, 1, 2)
        nn.init.zeros_(self.bbox_embed.layers[-1].bias)

    def forward(self, windows: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            windows: learned logits (Q, 2) of the queries' first windows.
            memory: see :class:`Memory`.

        Returns:
            States (layers, B, Q, D) and the windows (layers, B, Q, 2), in 0..1, that each layer started from.
        """
        reference = windows.sigmoid().to(memory.clips.dtype).expand(len(memory.clips), -1, -1)
        queries = reference.new_zeros((*reference.shape[:2], memory.clips.shape[-1]))
        states, references = [], [reference]
        for index, layer in enumerate(self.layers):
            sine = window_positions(reference, queries.shape[-1]).to(queries.dtype)
            position = self.ref_point_head(sine)
            if index:
                sine = sine * self.query_scale(queries)
            # attention as wide as the window: the width that the content suggests over the width that the query has
            sine = sine * (self.ref_anchor_head(queries).sigmoid() / reference[..., 1:])
            queries = layer(queries, position, sine, memory)
            states.append(self.norm(queries))
            if index + 1 < len(self.layers):
                refined = (self.bbox_embed(queries) + inverse_sigmoid(reference)).sigmoid()
                references.append(refined)
                reference = refined.detach()
        return torch.stack(states), torch.stack(references)
