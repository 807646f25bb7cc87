"""AVIGATE's audio resampler: learned queries collect audio tokens of any number (CVPR 2025, section 3.2).

Upstream: ``Transformer_Text`` in ``modules/module_cross.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.hosts.avigate.layers import Attention, feed_forward, layer_norm


class ResamplerBlock(nn.Module):
    """Self-attention of the queries, cross-attention to the audio, FFN; ``ln_3`` normalises queries and audio alike."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.attn = Attention(dim, num_heads)
        self.cross_attn = Attention(dim, num_heads)
        self.ln_1 = layer_norm(dim)
        self.mlp = feed_forward(dim)
        self.ln_2 = layer_norm(dim)
        self.ln_3 = layer_norm(dim)

    def forward(self, x: Tensor, audio: Tensor, audio_mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        read = self.cross_attn.read(
            self.cross_attn.queries(self.ln_3(x)), *self.cross_attn.keys_values(self.ln_3(audio)), audio_mask
        )
        x = x + self.cross_attn.merge(read)
        return x + self.mlp(self.ln_2(x))


class AudioResampler(nn.Module):
    """``num_layers`` resampler blocks.

    Args:
        dim: width D of queries and audio.
        num_heads: attention heads.
        num_layers: blocks.
    """

    def __init__(self, dim: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResamplerBlock(dim, num_heads) for _ in range(num_layers))

    def forward(self, queries: Tensor, audio: Tensor, audio_mask: Tensor | None = None) -> Tensor:
        """Resample audio.

        Args:
            queries: (Q, D), the same for every sample.
            audio: (B, A, D); whatever stands at masked positions has no influence, NaN neither.
            audio_mask: (B, A), True = valid. A sample without valid position gives the same finite output whatever
                its audio holds; callers have to close their gates on it.

        Returns:
            (B, Q, D)
        """
        if audio_mask is not None:
            audio = audio.masked_fill(~audio_mask[..., None], 0.0)
            audio_mask = audio_mask | ~audio_mask.any(dim=1, keepdim=True)  # softmax needs a key: here zeros
        if audio.shape[1] == 0:
            audio, audio_mask = audio.new_zeros(len(audio), 1, audio.shape[2]), None
        x = torch.broadcast_to(queries, (len(audio), *queries.shape))
        for block in self.resblocks:
            x = block(x, audio, audio_mask)
        return x
