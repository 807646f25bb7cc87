"""EVA-CLIP's vision transformer (Fang et al., CVPR 2023) as BLIP-2 uses it, under LAVIS's parameter names."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6


class EvaAttention(nn.Module):
    """Self-attention whose keys have no bias."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        query, key, value = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        attended = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (query, key, value)))
        return self.proj(attended.transpose(1, 2).flatten(2))


class EvaBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, width: int, num_heads: int, mlp_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = EvaAttention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        layers = {"fc1": nn.Linear(width, mlp_width), "act": nn.GELU(), "fc2": nn.Linear(mlp_width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class EvaVisionTransformer(nn.Module):
    """Images (B, 3, S, S) to tokens (B, 1 + patches, width), class token first, without a final norm.

    Source: BLIP-2, section 3; LAVIS ``eva_vit.py``. Sizes are ViT-g/14's, without its last block.

    Args:
        image_size: S in pixels, a multiple of ``patch_size``.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 14,
        width: int = 1408,
        depth: int = 39,
        num_heads: int = 16,
        mlp_width: int = 6144,
    ) -> None:
        super().__init__()
        patches = (image_size // patch_size) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch_size, stride=patch_size)})
        self.blocks = nn.ModuleList(EvaBlock(width, num_heads, mlp_width) for _ in range(depth))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 1 + patches, width)."""
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x
