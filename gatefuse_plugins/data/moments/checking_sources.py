"""Examines the feature files of one folder: missing, mislaid, unusable, of another width, or of another length."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.base import CLIP_TOLERANCE
from gatefuse_plugins.data.moments.sources import FeatureSource
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.errors import DataError

_NUM_THREADS = 4


@dataclass
class SourceCounts:
    """What one split has in one feature folder; ``rows`` is (min, max) over the readable items."""

    items: int = 0
    readable: int = 0
    rows: tuple[int, int] | None = None
    width: int | None = None


def stray_files(roots: Iterable[Path], folders: Iterable[Path]) -> dict[str, Path]:
    """File name -> a file of that name below ``roots``, but not directly in one of ``folders``."""
    used = {folder.resolve() for folder in folders}
    found: dict[str, Path] = {}
    for root in roots:
        for folder, _, names in os.walk(root):
            if Path(folder).resolve() not in used:
                found |= {name: Path(folder) / name for name in names}
    return found


def check_source(
    source: FeatureSource,
    names: Sequence[str],
    stated: Mapping[str, float],
    strays: Mapping[str, Path],
    faults: Faults,
    progress: Progress | None,
) -> SourceCounts:
    """Read the items ``names`` of ``source``.

    Args:
        source: the feature folder.
        names: ids of videos or queries.
        stated: id -> clips that the annotation states; empty for text.
        strays: file name -> where it lies outside the feature folders.
        faults: collects what is wrong.
        progress: called with (items read, items there).
    """
    present = []
    for name in names:
        absent = [file for file in source.files(name) if not file.is_file()]
        for file in absent:
            if file.name in strays:
                faults.add("mislaid feature files (expected -> found)", f"{file} -> {strays[file.name]}")
            else:
                faults.add(f"{source.folder}: missing feature files", file.name)
        if not absent:
            present.append(name)
    shapes: dict[str, tuple[int, int]] = {}
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        results = pool.map(lambda name: _shape(source, name), present)
        for done, (name, result) in enumerate(zip(present, results, strict=True), start=1):
            if isinstance(result, str):
                faults.add(f"{source.folder}: feature files that cannot be used", result)
            else:
                shapes[name] = result
            if progress is not None:
                progress(done, len(present))
    return _summary(source, len(names), shapes, stated, faults)


def _summary(
    source: FeatureSource,
    items: int,
    shapes: Mapping[str, tuple[int, int]],
    stated: Mapping[str, float],
    faults: Faults,
) -> SourceCounts:
    if not shapes:
        return SourceCounts(items)
    lengths, widths = zip(*shapes.values(), strict=True)
    usual = Counter(widths).most_common(1)[0][0]
    for name, (length, width) in shapes.items():
        if width != usual:
            faults.add(f"{source.folder}: features of another width than {usual}, the usual one", f"{name}: {width}")
        if name in stated and abs(length - stated[name]) > CLIP_TOLERANCE:
            kind = f"{source.folder}: clips that contradict the annotation by more than {CLIP_TOLERANCE}"
            faults.add(kind, f"{name}: {length}, stated {stated[name]:g}")
    return SourceCounts(items, len(shapes), (min(lengths), max(lengths)), usual)


def _shape(source: FeatureSource, name: str) -> tuple[int, int] | str:
    try:
        rows, width = source.read(name).shape
    except DataError as error:
        return str(error)
    return rows, width
