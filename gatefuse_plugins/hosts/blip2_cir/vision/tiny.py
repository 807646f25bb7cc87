"""A small vision transformer that stands in for a frozen, pre-trained ViT on the embedded scenes."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import CheckpointError, ConfigError, WeightsUnavailableError
from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class TinyPatchEncoder(nn.Module):
    """Pre-norm vision transformer (Dosovitskiy et al., ICLR 2021) over patches and a leading class token.

    The default patch is one grid cell of the embedded scenes (48 / 3 = 16 pixels), so each patch token stands for one
    object: ten tokens an image keep a Q-Former's cross-attention cheap, and no object is split over tokens.

    Args:
        image_size: side of the square images, pixels; a multiple of ``patch_size``.
        patch_size: side of a patch, pixels.
        width: channels of the tokens, a multiple of ``num_heads``.
        depth: transformer layers.
        num_heads: attention heads.
        weights: safetensors file as :func:`gatefuse_plugins.engine.pretrain_vision.load_or_pretrain` writes it; None
            leaves the random initialisation.

    Raises:
        ConfigError: sizes that do not divide.
        WeightsUnavailableError: ``weights`` names no file.
        CheckpointError: ``weights`` is unreadable or belongs to an encoder of another shape.
    """

    def __init__(
        self,
        image_size: int = 48,
        patch_size: int = 16,
        width: int = 128,
        depth: int = 2,
        num_heads: int = 4,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            near = max(1, round(image_size / patch_size)) * patch_size
            raise ConfigError(f"TinyPatchEncoder: image_size={image_size} is no multiple of {patch_size=}; try {near}")
        if width % num_heads:
            near = max(1, round(width / num_heads)) * num_heads
            raise ConfigError(f"TinyPatchEncoder: width={width} is no multiple of {num_heads=}; nearest: {near}")
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_features = width
        self.num_tokens = (image_size // patch_size) ** 2 + 1
        self.patch_embed = nn.Conv2d(3, width, patch_size, stride=patch_size)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, self.num_tokens, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, num_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        if weights is not None:
            self._load(weights)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens ``(B, num_tokens, width)``, class token first, of ``images`` ``(B, 3, image_size, image_size)``."""
        if images.shape[1:] != (3, self.image_size, self.image_size):
            expected = f"(B, 3, {self.image_size}, {self.image_size})"
            raise ValueError(f"TinyPatchEncoder: images of shape {tuple(images.shape)}, expected {expected}")
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def _load(self, weights: str | os.PathLike[str]) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not Path(weights).is_file():
            raise WeightsUnavailableError(
                f"TinyPatchEncoder: weights={str(weights)!r} is no file; expected a tiny-*.safetensors that "
                "pretrain_vision.load_or_pretrain wrote, or None for random weights"
            )
        try:
            self.load_state_dict(load_file(weights))
        except (SafetensorError, RuntimeError) as error:
            raise CheckpointError(
                f"TinyPatchEncoder: {weights} does not hold this encoder's weights: {error}"
            ) from error
