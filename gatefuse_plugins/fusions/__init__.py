"""Fusions: one published fusion a file, all with the signature of :class:`Fusion`."""

from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.fusions.sequential import SequentialFusion
from gatefuse_plugins.fusions.text_guided_image import TextGuidedImageFusion
from gatefuse_plugins.fusions.text_guided_spatial_attention import TextGuidedSpatialAttention

__all__ = ["Fusion", "SequentialFusion", "TextGuidedImageFusion", "TextGuidedSpatialAttention"]
