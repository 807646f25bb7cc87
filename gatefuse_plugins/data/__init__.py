"""Data sets, transforms, samplers and the frozen-feature cache; importing this registers them."""

from __future__ import annotations

from gatefuse_plugins.data.cache_builder import build_feature_cache, module_digest
from gatefuse_plugins.data.cirr import CIRRDataset
from gatefuse_plugins.data.collate import identity_collate
from gatefuse_plugins.data.fashioniq import FashionIQDataset
from gatefuse_plugins.data.feature_cache import FeatureCache
from gatefuse_plugins.data.moments import QVHighlightsDataset, TVSumDataset
from gatefuse_plugins.data.msrvtt import MSRVTTDataset
from gatefuse_plugins.data.progress import progress_bar
from gatefuse_plugins.data.samplers import ClusterSampler
from gatefuse_plugins.data.transforms import ClipPreprocess, SquarePad, TargetPad, build_transform, transform_key

__all__ = [
    "CIRRDataset",
    "ClipPreprocess",
    "ClusterSampler",
    "FashionIQDataset",
    "FeatureCache",
    "MSRVTTDataset",
    "QVHighlightsDataset",
    "SquarePad",
    "TVSumDataset",
    "TargetPad",
    "build_feature_cache",
    "build_transform",
    "identity_collate",
    "module_digest",
    "progress_bar",
    "transform_key",
]
