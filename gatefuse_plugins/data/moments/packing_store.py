"""Appends feature rows to a packed store, so that a crash loses nothing but what was not yet recorded."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.packed import (
    FORMAT,
    HEADER_FILE,
    JOURNAL_FILE,
    NORMS_FILE,
    ROWS_FILE,
    Entry,
    Stamp,
    parse_journal,
    read_header,
)
from gatefuse_plugins.data.moments.sources import FeatureSource, row_norms
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import write_json

_SAMPLES = 16
_DISK_MARGIN = 1.1


class StoreWriter:
    """Appends to a store: data first, then the journal, so that a crash loses whole items only."""

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder, self.header = folder, header
        self.row_bytes = header["width"] * np.dtype(header["dtype"]).itemsize
        journal = folder / JOURNAL_FILE
        journal.touch()
        whole = journal.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        self.entries = parse_journal(whole, journal)
        os.truncate(journal, len(whole))
        self.count = max((entry.start + entry.length for entry in self.entries.values()), default=0)
        for name, size in ((ROWS_FILE, self.row_bytes), (NORMS_FILE, 4)):
            (folder / name).touch()
            held = (folder / name).stat().st_size
            if held < self.count * size:
                raise DataError(f"{folder / name}: {held} bytes, expected {self.count * size}; delete it, pack again")
            os.truncate(folder / name, self.count * size)  # what a crash left beyond the journal

    def write_header(self, complete: bool) -> None:
        self.header["complete"] = complete
        write_json(self.folder / HEADER_FILE, self.header)

    def append(
        self, source: FeatureSource, names: Sequence[str], stamps: dict[str, Stamp | None], faults: Faults
    ) -> int:
        """Pack ``names``, on disk when this returns; returns how many had no fault."""
        values, norms, lines = [], [], []
        start = self.count
        for name in names:
            try:
                item = _convert(source, name, self.header)
            except DataError as error:
                faults.add("feature files that were not packed", error)
                continue
            entry = Entry(start, len(item[0]), checksum(*item), stamps[name] or [])
            values.append(item[0].tobytes())
            norms.append(item[1].tobytes())
            lines.append(json.dumps([name, *entry]) + "\n")
            self.entries[name], start = entry, start + entry.length
        data = {ROWS_FILE: values, NORMS_FILE: norms, JOURNAL_FILE: [line.encode() for line in lines]}
        for file, parts in data.items():
            with open(self.folder / file, "ab") as stream:
                stream.writelines(parts)
                stream.flush()
                os.fsync(stream.fileno())
        self.count = start
        return len(lines)

    def check_disk(self, source: FeatureSource, names: Sequence[str]) -> None:
        """Raise :class:`DataError` unless the disk can take ``names``, judged by the lengths of some of them."""
        lengths = [len(values) for values in _samples(source, names)]
        if not lengths:
            return  # nothing readable: the faults say why
        needed = int(len(names) * sum(lengths) / len(lengths) * (self.row_bytes + 4) * _DISK_MARGIN)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise DataError(
                f"{self.folder}: {free / 2**30:.2f} GiB free, about {needed / 2**30:.2f} GiB needed for {len(names)} "
                f"items in {self.header['dtype']}; free some, or pack elsewhere"
            )


def open_store(source: FeatureSource, names: Sequence[str], folder: Path, dtype: str) -> StoreWriter:
    """The writer of the store at ``folder``, which is new or holds these very features; else :class:`DataError`."""
    wanted = {"dtype": dtype, "source": str(source.folder.resolve()), "key": source.key}
    if not (folder / HEADER_FILE).exists():
        widths = Counter(values.shape[1] for values in _samples(source, names))
        if not widths:
            raise DataError(f"{source.folder}: none of the first files looked at can be used; check the data set")
        width = widths.most_common(1)[0][0]
        return StoreWriter(folder, wanted | {"format": FORMAT, "width": width, "templates": list(source.templates)})
    header = read_header(folder)
    differing = {key: header[key] for key in wanted if header[key] != wanted[key]}
    if differing:
        asked = {key: wanted[key] for key in differing}
        raise DataError(f"{folder}: holds {differing}, asked for {asked}; delete it or name another folder")
    return StoreWriter(folder, header)


def checksum(values: np.ndarray, norms: np.ndarray) -> int:
    """CRC-32 of the bytes of ``values``, then of ``norms``."""
    return zlib.crc32(norms.tobytes(), zlib.crc32(values.tobytes()))


def _convert(source: FeatureSource, name: str, header: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Values in the store's dtype and float32 norms; what does not fit raises :class:`DataError`."""
    original = source.read(name)
    if original.shape[1] != header["width"]:
        path = source.files(name)[0]
        raise DataError(f"{path}: {original.shape[1]} features, expected {header['width']} as in its neighbours")
    with np.errstate(over="ignore"):
        values = original.astype(header["dtype"])
    if not np.isfinite(values).all():
        raise DataError(f"{source.files(name)[0]}: values beyond {header['dtype']}; pack as float32")
    return values, row_norms(original)


def _samples(source: FeatureSource, names: Sequence[str]) -> list[np.ndarray]:
    found = []
    for name in names[:: max(1, len(names) // _SAMPLES)][:_SAMPLES]:
        try:
            found.append(source.read(name))
        except DataError:
            continue  # packing reports it
    return found
