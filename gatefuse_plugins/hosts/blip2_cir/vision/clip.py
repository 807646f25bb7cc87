"""CLIP's vision transformer (Radford et al., ICML 2021) as BLIP-2 uses it, under LAVIS's parameter names."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """The approximation of GELU that CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * torch.sigmoid(1.702 * x)


class ClipBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ClipVisionTransformer(nn.Module):
    """Images (B, 3, S, S) to tokens (B, 1 + patches, width), class token first, without a final norm.

    Source: BLIP-2, section 3; LAVIS ``clip_vit.py``. Sizes are ViT-L/14's.

    Args:
        image_size: S in pixels, a multiple of ``patch_size``.
        depth: blocks that are kept.
    """

    def __init__(
        self, image_size: int = 224, patch_size: int = 14, width: int = 1024, depth: int = 21, num_heads: int = 16
    ) -> None:
        super().__init__()
        patches = (image_size // patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(patches + 1, width))
        self.conv1 = nn.Conv2d(3, width, patch_size, stride=patch_size, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        blocks = nn.Sequential(*(ClipBlock(width, num_heads) for _ in range(depth)))
        self.transformer = nn.ModuleDict({"resblocks": blocks})

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 1 + patches, width)."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images), 1, -1)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding
        return self.transformer["resblocks"](self.ln_pre(x))
