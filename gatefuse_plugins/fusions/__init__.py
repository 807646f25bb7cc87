"""Fusions: one published fusion a file, all with the signature of :class:`Fusion`."""

from gatefuse_plugins.fusions.avigate_custom import AvigateCustomFusion
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.fusions.concat import Concat
from gatefuse_plugins.fusions.sequential import SequentialFusion
from gatefuse_plugins.fusions.temporal_gate import QueryAwareTemporalGate
from gatefuse_plugins.fusions.text_guided_image import TextGuidedImageFusion
from gatefuse_plugins.fusions.text_guided_spatial_attention import TextGuidedSpatialAttention

__all__ = [
    "AvigateCustomFusion",
    "Concat",
    "Fusion",
    "QueryAwareTemporalGate",
    "SequentialFusion",
    "TextGuidedImageFusion",
    "TextGuidedSpatialAttention",
]
