"""Packs a folder of feature files into one memory-mapped store: resumable, checked, verified."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gatefuse_plugins.data.base_annotations import check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.packed import PackedFeatures, stamp_of
from gatefuse_plugins.data.moments.packing_store import checksum, open_store
from gatefuse_plugins.data.moments.sources import FeatureSource, row_norms
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import exclusive

DTYPES = ("float16", "float32")
_BATCH_ITEMS = 64


@dataclass
class PackResult:
    """What :func:`pack_folder` did: counts of items, and the faults of those that could not be packed."""

    folder: Path
    packed: int = 0
    unchanged: int = 0
    faults: Faults = field(default_factory=Faults)


def pack_folder(
    source: FeatureSource, out: Path, dtype: str = "float16", progress: Progress | None = None
) -> PackResult:
    """Pack every item of ``source`` into the store ``out/NAME``, NAME being the source folder's.

    Items already packed from files of the same size and time are kept, so an interrupted or repeated call only does
    what is left; changed files are packed anew (their old rows stay behind, unused). Files with faults are left out
    and reported together.

    Args:
        source: a feature folder.
        out: root of all stores.
        dtype: ``float16`` (half the size, rounded) or ``float32`` (exact).
        progress: called with (items done, items in all).

    Raises:
        ConfigError: unknown ``dtype``.
        DataError: nothing to pack, too little disk, or the store holds other features (dtype, width, source).
    """
    check_choice("dtype", dtype, DTYPES)
    names = source.names()
    if not names:
        raise DataError(f"{source.folder}: no files {source.templates[0].format('NAME')} to pack")
    folder = out / source.folder.resolve().name
    result = PackResult(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock"):
        writer = open_store(source, names, folder, dtype)
        stamps = {name: stamp_of(source.files(name)) for name in names}
        todo = [n for n in names if n not in writer.entries or writer.entries[n].stamp != stamps[n]]
        result.unchanged = len(names) - len(todo)
        if todo:
            writer.check_disk(source, todo)
            writer.write_header(complete=False)
        for start in range(0, len(todo), _BATCH_ITEMS):
            result.packed += writer.append(source, todo[start : start + _BATCH_ITEMS], stamps, result.faults)
            if progress is not None:
                progress(min(start + _BATCH_ITEMS, len(todo)), len(todo))
        writer.write_header(complete=True)
    return result


def verify_store(folder: Path, progress: Progress | None = None) -> Faults:
    """Compare every packed item with its checksum and, where its files are still there, with their content.

    Raises:
        DataError: no finished store at ``folder``.
    """
    store, faults = PackedFeatures(folder), Faults()
    all_norms = store.norms()
    for done, (name, entry) in enumerate(store.entries.items(), start=1):
        values, norms = store.rows(name).values.numpy(), all_norms[entry.start : entry.start + entry.length]
        if checksum(values, norms) != entry.checksum:
            faults.add(f"{folder}: items whose stored bytes do not match their checksum (delete it, pack again)", name)
        elif stamp_of(store.source.files(name)) is not None:
            try:
                original = store.source.read(name)
            except DataError as error:
                faults.add(f"{folder}: packed items whose files can no longer be used", error)
                continue
            if not (
                np.array_equal(values, original.astype(values.dtype)) and np.array_equal(norms, row_norms(original))
            ):
                faults.add(f"{folder}: items that differ from their files (run pack_features again)", name)
        if progress is not None:
            progress(done, len(store.entries))
    return faults
