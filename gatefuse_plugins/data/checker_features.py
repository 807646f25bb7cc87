"""Examines the feature caches of a composed-retrieval data set."""

from __future__ import annotations

from pathlib import Path

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.feature_cache import FEATURES_FILE, NAMES_PATTERN, FeatureCache
from gatefuse_plugins.errors import DataError


def check_features(path: Path, known: set[str], faults: Faults) -> None:
    """Add to ``faults`` what is wrong with the index file or folder ``path``, and the ``known`` images it lacks."""
    indices = [path] if path.is_file() else sorted(path.rglob(NAMES_PATTERN))
    if not indices:
        faults.add(f"feature folders without an index {NAMES_PATTERN}", path)
    covered: set[str] = set()
    for index in indices:
        try:
            cache = FeatureCache.open(index)
        except (DataError, KeyError, TypeError) as error:
            faults.add("feature caches that cannot be read", f"{index}: {error}")
            continue
        size = (index.parent / FEATURES_FILE).stat().st_size
        if size % cache.row_bytes:
            expected = f"rows of {cache.num_tokens} x {cache.width} {cache.dtype} = {cache.row_bytes} bytes"
            faults.add("features of wrong dimensions", f"{index.parent / FEATURES_FILE}: {size} bytes, no {expected}")
        covered.update(cache.names)
    if indices:
        faults.add(f"images without features in {path}", *sorted(known - covered))
