"""Similarity arrays and the gallery order of their columns, as other programs leave them on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.evaluation.recall import Scores
from gatefuse_plugins.files import read_json


def load_similarity(path: Path, shape: tuple[int, int] | None = None, key: str | None = None) -> Scores:
    """A numeric array from ``.npy`` (memory-mapped) or ``.npz`` (``key``, or its only array); never unpickles.

    Raises:
        DataError: the file is missing, truncated or pickled, holds no such key, or is not of ``shape``.
    """
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                key = key if key is not None or len(loaded.files) != 1 else loaded.files[0]
                if key not in loaded.files:
                    raise DataError(f"{path}: no array {key!r}{suggestion(str(key), loaded.files)}")
                loaded = loaded[key]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npy or .npz of numbers ({error})") from error
    if not np.issubdtype(loaded.dtype, np.number) or np.iscomplexobj(loaded):
        raise DataError(f"{path}: holds {loaded.dtype}, expected real numbers")
    if shape is not None and loaded.shape != shape:
        raise DataError(f"{path}: has shape {loaded.shape}, expected {shape} (queries of captions, images of split)")
    return loaded


class GalleryOrder:
    """Image names of a split file in its order, which is that of a similarity's columns.

    Args:
        path: a JSON list of names (FashionIQ) or an object keyed by name (CIRR).

    Raises:
        DataError: the file holds anything else, or a name twice.
    """

    def __init__(self, path: Path) -> None:
        value = read_json(path)
        if not isinstance(value, (list, dict)) or not value or not all(isinstance(name, str) for name in value):
            raise DataError(f"{path}: expected image names, as a JSON list or as the keys of an object")
        self.path = path
        self.names = list(value)
        self._column = {name: column for column, name in enumerate(self.names)}
        if repeated := len(self.names) - len(self._column):
            raise DataError(f"{path}: {repeated} image names appear twice, so columns are ambiguous")

    def indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        """(len(names),) column of each name; DataError where the split has no such image."""
        for name in names:
            if name not in self._column:
                raise DataError(f"{self.path}: has no image {name!r}{suggestion(name, self._column)}")
        return np.asarray([self._column[name] for name in names], np.int64)
