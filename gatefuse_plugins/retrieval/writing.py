"""Writes a gallery index: the folder of :mod:`gatefuse_plugins.retrieval.storage`, whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer, file_digest, write_json
from gatefuse_plugins.retrieval.header import FORMAT, HEADER_FILE, ITEMS_FILE
from gatefuse_plugins.retrieval.vectors import GalleryVectors


def check_target(folder: str | Path, force: bool = False) -> None:
    """Judge, before anything is computed, whether an index may be written to ``folder``.

    Raises:
        DataError: an index stands there and ``force`` is off, something stands there that is no index, or nothing can
            be written there.
    """
    folder = Path(folder)
    if not folder.exists():
        existing = next(parent for parent in _resolved(folder).parents if parent.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise DataError(f"{folder}: cannot be made, {existing} is no folder to write in; choose another --out")
        return
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file, expected a folder for the index; choose another --out")
    if not any(folder.iterdir()):
        return
    if not (folder / HEADER_FILE).is_file():
        raise DataError(
            f"{folder}: holds files and no {HEADER_FILE}, so it is no index and is kept; choose another --out"
        )
    if not force:
        raise DataError(f"{folder}: holds an index already; --force replaces it, or choose another --out")


def write_index(
    folder: str | Path,
    header: Mapping[str, Any],
    names: Sequence[str],
    paths: Sequence[str | None],
    vectors: GalleryVectors,
    force: bool = False,
) -> Path:
    """Write an index; whatever fails, what stood in ``folder`` stays.

    Args:
        folder: see :func:`check_target`, also for the errors; a link stays and gets the index where it points.
        header: the entries of :data:`~gatefuse_plugins.retrieval.header.HEADER_TYPES` but those about the files;
            of pictures, also of ``PICTURE_TYPES``.
        names: V names.
        paths: V files or ``None``.
        vectors: of the V items, in the dtype to be stored.
        force: replace an index.
    """
    target = _resolved(folder)
    check_target(target, force)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    arrays = {"vectors": vectors.vectors, "offsets": vectors.offsets, "pooled": vectors.pooled}
    present = {name: array for name, array in arrays.items() if array is not None}
    try:
        temporary.mkdir(parents=True)
        for name, array in present.items():
            with atomic_writer(temporary / f"{name}.npy") as stream:
                np.save(stream, array, allow_pickle=False)
        write_json(temporary / ITEMS_FILE, {"names": list(names), "paths": list(paths)}, indent=None)
        files = {
            "arrays": {name: _describe(array, temporary / f"{name}.npy") for name, array in present.items()},
            "items_sha256": file_digest(temporary / ITEMS_FILE),
        }
        write_json(temporary / HEADER_FILE, {"format": FORMAT, **header, **files})
        _replace(temporary, target)
    except OSError as error:
        raise DataError(f"{target}: the index cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already, where it became the index
    return target


def _resolved(folder: str | Path) -> Path:
    return Path(os.path.realpath(folder))  # Path.resolve() raises RuntimeError for links in a circle


def _describe(array: NDArray[Any], path: Path) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": file_digest(path)}


def _replace(new: Path, target: Path) -> None:
    """Rename ``new`` to ``target``; an index there is moved aside first and deleted last."""
    if not (target / HEADER_FILE).is_file():
        os.replace(new, target)  # not there, or an empty folder
        return
    aside = target.parent / f".{target.name}.{uuid.uuid4().hex}.old"
    os.replace(target, aside)
    try:
        os.replace(new, target)
    except BaseException:
        os.replace(aside, target)
        raise
    shutil.rmtree(aside)
