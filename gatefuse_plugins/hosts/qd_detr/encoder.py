"""Encoder layers: video attends to text, then video and global token to themselves (QD-DETR, section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn

from gatefuse_plugins.hosts.qd_detr.activation import ScalarPReLU
from gatefuse_plugins.hosts.qd_detr.attention import PackedAttention
from gatefuse_plugins.hosts.qd_detr.dropout import Dropout, drop_linear


class GatedLayer(nn.Module):
    """Parts of both kinds of layer, and the places where gates may enter.

    ``attention_gate`` and ``ffn_gate`` are ``None`` or modules ``gate(branch, mask) -> branch`` on the value that a
    residual branch adds; while ``None`` they are no modules, so state dicts are untouched. Injection fills them
    (``at="attention_gate"``); ``embed_dim`` tells it their width.

    Args:
        dim: width D.
        num_heads: attention heads.
        dim_feedforward: hidden width of the feed-forward network.
        dropout: rate of all dropouts.
    """

    def __init__(self, dim: int, num_heads: int, dim_feedforward: int, dropout: float) -> None:
        super().__init__()
        self.embed_dim = dim
        self.self_attn = PackedAttention(dim, num_heads, dropout)
        self.linear1 = nn.Linear(dim, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.activation = ScalarPReLU()
        self.dropout = Dropout(dropout)
        self.attention_gate: nn.Module | None = None
        self.ffn_gate: nn.Module | None = None

    def add_attention(self, x: Tensor, attended: Tensor, mask: Tensor) -> Tensor:
        """``x`` (B, L, D) plus the (gated) attention branch."""
        branch = self.dropout(attended)
        return x + (branch if self.attention_gate is None else self.attention_gate(branch, mask))

    def add_feed_forward(self, x: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """``x`` plus the (gated) feed-forward branch of ``source``, both (B, L, D)."""
        hidden = self.activation(self.linear1(source))
        branch = self.dropout(drop_linear(hidden, self.linear2, self.dropout.p, self.training))
        return x + (branch if self.ffn_gate is None else self.ffn_gate(branch, mask))


class TextToVideoLayer(GatedLayer):
    """Cross-attention from clips to words. The feed-forward residual starts from the input of the first norm."""

    def forward(
        self, video: Tensor, position: Tensor, text: Tensor, text_key: Tensor, mask: Tensor, text_mask: Tensor
    ) -> Tensor:
        """Clips (B, L, D) that know the query.

        Args:
            video: clips (B, L, D) and their ``position`` (B, L, D).
            text: words (B, N, D); ``text_key`` are the words with their positions, if they have any.
            mask: valid clips (B, L).
            text_mask: which word each clip may attend to, broadcastable to (B, H, L, N).
        """
        attended = self.self_attn(video + position, text_key, text, text_mask)
        video = self.add_attention(video, attended, mask)
        return self.norm2(self.add_feed_forward(video, self.norm1(video), mask))


class EncoderLayer(GatedLayer):
    """Self-attention, post-norm."""

    def forward(self, x: Tensor, position: Tensor, mask: Tensor, key_mask: Tensor) -> Tensor:
        """``x`` and ``position`` (B, L, D), ``mask`` (B, L), ``key_mask`` broadcastable to (B, H, L, L)."""
        placed = x + position
        x = self.norm1(self.add_attention(x, self.self_attn(placed, placed, x, key_mask), mask))
        return self.norm2(self.add_feed_forward(x, x, mask))


class LayerStack(nn.Module):
    """Layers that run one after the other, each with the same further arguments."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, *arguments: Tensor) -> Tensor:
        """Pass ``x`` (B, L, D) through all layers."""
        for layer in self.layers:
            x = layer(x, *arguments)
        return x
