"""Moment retrieval and highlight detection: QVHighlights and TVSum, from feature files or packed stores."""

from __future__ import annotations

from gatefuse_plugins.data.moments.packed import PackedFeatures
from gatefuse_plugins.data.moments.packing import PackResult, pack_folder, verify_store
from gatefuse_plugins.data.moments.places import feature_folders, moment_files
from gatefuse_plugins.data.moments.qvhighlights import QVHighlightsDataset
from gatefuse_plugins.data.moments.tvsum import TVSumDataset

__all__ = [
    "PackResult",
    "PackedFeatures",
    "QVHighlightsDataset",
    "TVSumDataset",
    "feature_folders",
    "moment_files",
    "pack_folder",
    "verify_store",
]
