"""Stands where the frozen vision encoder was, once its tokens come from the feature cache."""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor, nn

from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class CachedVision(nn.Module):
    """Sizes of an encoder whose tokens were computed beforehand; holds no weights.

    Args:
        num_features: width of the cached tokens.
        num_tokens: tokens an image.
        image_size: side of the images that the encoder saw, in pixels.
        digest: SHA-256 of the encoder's weights; the feature cache carries the same.
    """

    def __init__(self, num_features: int, num_tokens: int, image_size: int, digest: str) -> None:
        super().__init__()
        self.num_features, self.num_tokens = num_features, num_tokens
        self.image_size, self.digest = image_size, digest

    def forward(self, images: Tensor) -> NoReturn:
        """Raises RuntimeError: there is no encoder here."""
        raise RuntimeError(
            f"images of shape {tuple(images.shape)} reached a model built for cached vision tokens (B,"
            f" {self.num_tokens}, {self.num_features}); give features=CACHE to the dataset, or build with the real"
            " encoder (features.enabled=False)"
        )
