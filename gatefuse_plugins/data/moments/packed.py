"""Reader of packed features: one memory-mapped store per feature folder, without a file opened per sample.

Layout below the root that ``pack_features`` was given, one folder per feature folder and named as it::

    NAME/pack.json       format, dtype, width, source folder, whether packing finished
    NAME/rows.bin        feature rows as they stood in the files, neither cut nor normalised; only ever appended to
    NAME/norms.bin       float32 L2 norm of each row before rounding to the store's dtype
    NAME/journal.jsonl   a line per packed item: [name, first row, rows, CRC-32, [[file size, mtime in ns], ...]]

Rows are stored raw because cutting and normalising commute with storing: every option of the data sets works on one
store, and float32 stores give bit for bit what the files give.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gatefuse_plugins.data.moments.sources import NORM_EPS, FeatureSource, Rows
from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.files import read_json

FORMAT = 1
HEADER_FILE, ROWS_FILE, NORMS_FILE, JOURNAL_FILE = "pack.json", "rows.bin", "norms.bin", "journal.jsonl"
HEADER_KEYS = ("format", "dtype", "width", "source", "templates", "key", "complete")

Stamp = list[list[int]]
"""Size in bytes and modification time in ns of each file of an item."""


class Entry(NamedTuple):
    """Where one item's rows lie, the CRC-32 of their bytes (norms after values), and its files' stamp."""

    start: int
    length: int
    checksum: int
    stamp: Stamp


def stamp_of(paths: Iterable[Path]) -> Stamp | None:
    """The files' stamp; None where one is absent."""
    try:
        found = [path.stat() for path in paths]
    except FileNotFoundError:
        return None
    return [[status.st_size, status.st_mtime_ns] for status in found]


def read_header(folder: Path) -> dict[str, Any]:
    """``pack.json`` of a store; raises :class:`DataError` where it is absent or of another format."""
    header = read_json(folder / HEADER_FILE)
    lacking = [key for key in HEADER_KEYS if not isinstance(header, dict) or key not in header]
    if lacking or header["format"] != FORMAT:
        stated = f"lacks {', '.join(lacking)}" if lacking else f"is format {header['format']}"
        raise DataError(f"{folder / HEADER_FILE}: {stated}, expected format {FORMAT}; delete the folder, pack again")
    return header


def parse_journal(data: bytes, path: Path) -> dict[str, Entry]:
    """name -> entry; of an item packed again the last line counts. Raises :class:`DataError` on a broken line."""
    entries = {}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            name, *values = json.loads(line)
            entries[name] = Entry(*values)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: line {number} is broken ({error}); delete {path.parent}, pack again") from error
    return entries


class PackedFeatures:
    """Reads one store. Picklable and fork-safe: each process maps the rows at its first read.

    Args:
        folder: the store of one feature folder.

    Raises:
        DataError: no finished store there, another format, or less data than its journal states.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        header = read_header(self.folder)
        if not header["complete"]:
            raise DataError(f"{self.folder}: packing was interrupted; run tools/pack_features.py again to finish it")
        self.dtype, self._width = str(header["dtype"]), int(header["width"])
        self.source = FeatureSource(Path(header["source"]), tuple(header["templates"]), header["key"])
        journal = self.folder / JOURNAL_FILE
        self.entries = parse_journal(journal.read_bytes(), journal)
        self._count = max((entry.start + entry.length for entry in self.entries.values()), default=0)
        self._check_size(ROWS_FILE, self._count * self._width * np.dtype(self.dtype).itemsize)
        self._check_size(NORMS_FILE, self._count * 4)
        self._mapped: Rows | None = None

    @property
    def place(self) -> Path:
        """The store's folder."""
        return self.folder

    def width(self, name: str) -> int:
        """Features per row."""
        return self._width

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are not packed, each once, in order."""
        return [name for name in dict.fromkeys(names) if name not in self.entries]

    def changed(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` whose files are there and differ in size or time from those packed.

        Files that are gone contradict nothing: a store may outlive its source.
        """
        if not self.source.folder.is_dir():
            return []
        stamps = {name: stamp_of(self.source.files(name)) for name in dict.fromkeys(names) if name in self.entries}
        return [name for name, stamp in stamps.items() if stamp is not None and stamp != self.entries[name].stamp]

    def rows(self, name: str) -> Rows:
        """Views of one item's rows, float32 or float16, and of their divisors; not to be written to.

        Raises:
            DataError: ``name`` is not packed.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise DataError(f"{self.folder}: {name} is not packed{suggestion(name, self.entries)}")
        values, divisors = self._mapped or self._map()
        return Rows(values.narrow(0, entry.start, entry.length), divisors.narrow(0, entry.start, entry.length))

    def norms(self) -> np.ndarray:
        """Norms (all rows, 1) as stored."""
        return np.fromfile(self.folder / NORMS_FILE, dtype="float32", count=self._count)[:, None]

    def _map(self) -> Rows:
        # mode "c" gives torch the writable memory that it asks for, and can still not change the file
        shape = (self._count, self._width)
        values = np.memmap(self.folder / ROWS_FILE, dtype=self.dtype, mode="c", shape=shape)
        self._mapped = Rows(torch.from_numpy(values), torch.from_numpy(self.norms()) + NORM_EPS)
        return self._mapped

    def _check_size(self, name: str, needed: int) -> None:
        path = self.folder / name
        held = path.stat().st_size if path.is_file() else 0
        if held < needed:
            raise DataError(f"{path}: {held} bytes, expected {needed} by its journal; delete {self.folder}, pack again")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}  # pickling the maps would copy every feature
