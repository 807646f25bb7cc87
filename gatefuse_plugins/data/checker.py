"""Examines a data set on disk and reports everything that is wrong with it at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.base_annotations import Annotations, check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.checker_features import check_features
from gatefuse_plugins.data.cirr_annotations import SPLITS as CIRR_SPLITS
from gatefuse_plugins.data.cirr_annotations import cirr_files, cirr_root, read_cirr
from gatefuse_plugins.data.fashioniq_annotations import CATEGORIES, fashioniq_files, fashioniq_root, read_fashioniq
from gatefuse_plugins.data.fashioniq_annotations import SPLITS as FASHIONIQ_SPLITS
from gatefuse_plugins.data.images import missing_files, read_image
from gatefuse_plugins.data.moments.checking import MomentCounts, check_moments, check_packed
from gatefuse_plugins.data.moments.places import LAYOUTS
from gatefuse_plugins.data.msrvtt.checking import ClipCounts, check_clips
from gatefuse_plugins.errors import ConfigError, DataError

IMAGE_KINDS = ("cirr", "fashioniq")
CLIP_KIND = "msrvtt"
KINDS = (*IMAGE_KINDS, *LAYOUTS, CLIP_KIND)


@dataclass
class SplitCounts:
    """What one split holds; ``width`` and ``height`` are (min, max) in pixels over the readable images."""

    images: int = 0
    queries: int = 0
    readable: int = 0
    width: tuple[int, int] | None = None
    height: tuple[int, int] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class CheckReport:
    """Result of :func:`check_dataset`; ``faults`` maps each kind of fault to its offenders, uncut."""

    kind: str
    root: str
    splits: dict[str, SplitCounts] | dict[str, MomentCounts] | dict[str, ClipCounts]
    faults: dict[str, list[str]]

    @property
    def ok(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self) | {"ok": self.ok}


def check_dataset(
    kind: str,
    path: str | Path,
    features: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read every annotation file of the data set at ``path`` and every image or feature file that they name.

    Args:
        kind: one of ``KINDS``.
        path: the data root.
        features: to check as well: index file or folder of a feature cache, or root of packed moment features.
        progress: called with (files read, files of this split or folder).

    Raises:
        ConfigError: unknown ``kind``, or ``features`` of a kind whose features are not checked. Faults of the data are
            reported, not raised.
    """
    check_choice("kind", kind, KINDS)
    faults = Faults()
    if kind in LAYOUTS:
        counts = check_moments(kind, Path(path), faults, progress)
        if features is not None:
            check_packed(Path(features), faults, progress)
        return CheckReport(kind, str(path), counts, faults.by_kind)
    if kind == CLIP_KIND:
        if features is not None:
            raise ConfigError(f"features={str(features)!r}: of {kind} only clips are checked; leave features out")
        return CheckReport(kind, str(path), check_clips(path, faults, progress), faults.by_kind)
    splits, known, elsewhere = {}, set(), _files_by_stem(Path(path))
    for split in CIRR_SPLITS if kind == "cirr" else FASHIONIQ_SPLITS:
        try:
            annotations = _read(kind, Path(path), split, faults)
        except DataError as error:
            faults.add("annotation folders not found", error)
            break
        if annotations is None:
            splits[split] = SplitCounts(notes=["not there; only the test server needs it"])
            continue
        splits[split] = _check_images(annotations, elsewhere, faults, progress)
        known.update(annotations.gallery)
    if features is not None:
        check_features(Path(features), known, faults)
    return CheckReport(kind, str(path), splits, faults.by_kind)


def _read(kind: str, path: Path, split: str, faults: Faults) -> Annotations | None:
    """One split, or None where the unlabelled test split is absent altogether."""
    if kind == "cirr":
        root = cirr_root(path)
        files = list(cirr_files(root, split))
    else:
        root = fashioniq_root(path)
        files = [file for category in CATEGORIES for file in fashioniq_files(root, category, split)]
    if split.startswith("test") and not any(file.exists() for file in files):
        return None
    if kind == "cirr":
        return read_cirr(path, split, "train" if split == "train" else "eval", faults)
    return read_fashioniq(path, split, CATEGORIES, faults)


def _files_by_stem(path: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder, _, names in os.walk(path):
        for name in names:
            found.setdefault(Path(name).stem, []).append(Path(folder) / name)
    return found


def _check_images(
    annotations: Annotations,
    elsewhere: Mapping[str, Sequence[Path]],
    faults: Faults,
    progress: Callable[[int, int], None] | None,
) -> SplitCounts:
    paths = list(dict.fromkeys(annotations.paths))
    absent = missing_files(paths)
    for path in absent:
        candidates = elsewhere.get(path.stem, [])
        same_name = [file for file in candidates if file.name == path.name]
        if same_name:
            faults.add("mislaid images (expected -> found)", f"{path} -> {same_name[0]}")
        elif candidates:
            faults.add("images under another extension (expected -> found)", f"{path} -> {candidates[0]}")
        else:
            faults.add("missing images", path)
    present = [path for path in paths if path not in set(absent)] if absent else paths
    sizes = []
    with ThreadPoolExecutor() as pool:
        for done, result in enumerate(pool.map(_size_or_error, present), start=1):
            if isinstance(result, str):
                faults.add("unreadable images", result)
            else:
                sizes.append(result)
            if progress is not None:
                progress(done, len(present))
    counts = SplitCounts(len(annotations.gallery), len(annotations.captions), len(sizes), notes=annotations.notes)
    if sizes:
        widths, heights = zip(*sizes, strict=True)
        counts.width, counts.height = (min(widths), max(widths)), (min(heights), max(heights))
    return counts


def _size_or_error(path: Path) -> tuple[int, int] | str:
    try:
        return read_image(path).size
    except DataError as error:
        return str(error)
