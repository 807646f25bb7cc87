"""Feature files of one folder, checked as they are read: ``(rows, width)`` arrays in ``.npz`` or ``.npy`` files."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from gatefuse_plugins.data.moments.places import LAYOUTS
from gatefuse_plugins.errors import DataError, suggestion

NORM_EPS = 1e-5
"""Added to the norm of a feature row before dividing by it, as upstream does (utils/basic_utils.py)."""

UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


class Rows(NamedTuple):
    """One item's features ``values`` (n, D), float32 or float16, and the ``divisors`` (n, 1) that normalise them.

    Divisors are float32 and hold each row's L2 norm plus ``NORM_EPS``.
    """

    values: Tensor
    divisors: Tensor


class FeatureReader(Protocol):
    """What a data set needs of a source of features, be it a folder of files or a packed store."""

    @property
    def place(self) -> Path: ...
    def width(self, name: str) -> int: ...
    def missing(self, names: Iterable[str]) -> list[str]: ...
    def rows(self, name: str) -> Rows: ...


@dataclass(frozen=True)
class FeatureSource:
    """A folder of feature files: ``templates`` are the file names of one item, ``key`` the array inside an npz."""

    folder: Path
    templates: tuple[str, ...]
    key: str | None

    @classmethod
    def of(cls, kind: str, modality: str, folder: Path) -> FeatureSource:
        """The source of ``modality`` at ``folder`` in the layout of ``kind``."""
        layout = LAYOUTS[kind]
        return cls(folder, layout.templates[modality], layout.keys[modality])

    def files(self, name: str) -> list[Path]:
        """The files of one item."""
        return [self.folder / template.format(name) for template in self.templates]

    def names(self) -> list[str]:
        """Every item of which the first file is there, sorted."""
        prefix, suffix = self.templates[0].split("{}")
        if not self.folder.is_dir():
            return []
        listed = (entry.name for entry in os.scandir(self.folder))
        return sorted(
            entry[len(prefix) : len(entry) - len(suffix)]
            for entry in listed
            if entry.startswith(prefix) and entry.endswith(suffix) and len(entry) > len(prefix) + len(suffix)
        )

    def read(self, name: str) -> np.ndarray:
        """Features (n, D) float32; several files are cut to the shortest and concatenated along features.

        Raises:
            DataError: a file is missing, unreadable, of another shape, without rows, or holds NaN or infinity.
        """
        parts = [self._read_file(path) for path in self.files(name)]
        if len(parts) == 1:
            return parts[0]
        shortest = min(map(len, parts))
        return np.concatenate([part[:shortest] for part in parts], axis=-1)

    def _read_file(self, path: Path) -> np.ndarray:
        try:
            with open(path, "rb") as stream:
                loaded = np.load(stream, allow_pickle=False)
                values = loaded if isinstance(loaded, np.ndarray) else self._from_archive(loaded, path)
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except DataError:
            raise
        except UNREADABLE as error:
            raise DataError(f"{path}: unreadable ({error})") from error
        if values.ndim == 3 and len(values) == 1:
            values = values[0]  # some extractors left their batch dimension in
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating) or not values.shape[1]:
            raise DataError(f"{path}: {values.dtype} of shape {values.shape}, expected floats (rows, features)")
        if not len(values):
            raise DataError(f"{path}: no rows (shape {values.shape}), expected at least one clip or token")
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity, which is reported next
            values = values.astype(np.float32, copy=False)
        bad = ~np.isfinite(values)
        if bad.any():
            raise DataError(f"{path}: {bad.sum()} NaN or infinite values, the first in row {np.argwhere(bad)[0][0]}")
        return values

    def _from_archive(self, archive: np.lib.npyio.NpzFile, path: Path) -> np.ndarray:
        if self.key is None or self.key not in archive.files:
            expected = "one plain array (.npy)" if self.key is None else f"key {self.key!r}"
            hint = suggestion(self.key or "", archive.files)
            raise DataError(f"{path}: holds {', '.join(archive.files) or 'nothing'}, expected {expected}{hint}")
        return archive[self.key]


def row_norms(values: np.ndarray) -> np.ndarray:
    """L2 norms (n, 1) of float32 rows (n, D)."""
    return np.linalg.norm(values, axis=-1, keepdims=True)


class FileFeatures:
    """Reads a :class:`FeatureSource` file by file; every item must be as wide as the first one read."""

    def __init__(self, source: FeatureSource) -> None:
        self.source = source
        self._width: int | None = None

    @property
    def place(self) -> Path:
        """The folder."""
        return self.source.folder

    def width(self, name: str) -> int:
        """Features per row, from the item ``name`` where nothing was read before."""
        return self._width or self.rows(name).values.shape[1]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that lack a file, each once; one listing of the folder answers for all."""
        present = {entry.name for entry in os.scandir(self.place)} if self.place.is_dir() else set()
        templates = self.source.templates
        return [name for name in dict.fromkeys(names) if not all(t.format(name) in present for t in templates)]

    def rows(self, name: str) -> Rows:
        """All rows of one item, with their divisors; raises :class:`DataError` as :meth:`FeatureSource.read` does."""
        values = np.ascontiguousarray(self.source.read(name))
        if self._width not in (None, values.shape[1]):
            path = self.source.files(name)[0]
            raise DataError(f"{path}: {values.shape[1]} features, expected {self._width} as in its neighbours")
        self._width = values.shape[1]
        return Rows(torch.from_numpy(values), torch.from_numpy(row_norms(values)) + NORM_EPS)
