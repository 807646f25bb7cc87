"""A gallery index on disk: a folder that is either whole or not there.

Layout::

    index.json      format, kind, dataset, checkpoint, model config, shapes of the arrays, SHA-256 of all these files
    items.json      names of the items, and their files where known
    vectors.npy     (R, D), see :class:`GalleryVectors`; likewise offsets.npy, and pooled.npy where there is one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import ConfigDict
from numpy.typing import NDArray

from gatefuse_plugins.config.validation import config_faults
from gatefuse_plugins.errors import CheckpointError, DataError
from gatefuse_plugins.files import file_digest
from gatefuse_plugins.retrieval.header import HEADER_FILE, ITEMS_FILE, REMEDY, read_header, read_items
from gatefuse_plugins.retrieval.vectors import GalleryVectors


@dataclass(frozen=True)
class GalleryIndex:
    """An opened index.

    Attributes:
        folder: where it lies.
        header: content of ``index.json``.
        names: V item names.
        paths: V files, or ``None`` where an item has none.
        vectors: memory-mapped.
    """

    folder: Path
    header: Mapping[str, Any]
    names: Sequence[str]
    paths: Sequence[str | None]
    vectors: GalleryVectors

    @classmethod
    def open(cls, folder: str | Path) -> GalleryIndex:
        """Map the index in ``folder``, after one pass over its files, whose SHA-256 is compared.

        Raises:
            DataError: no index there, another format, a file that is missing, truncated or of another index, or files
                that contradict.
        """
        folder = Path(folder)
        if not (folder / HEADER_FILE).is_file():
            raise DataError(f"{folder}: no gallery index ({HEADER_FILE} is missing); make one: tools/index_gallery.py")
        header = read_header(folder)
        names, paths = read_items(folder)
        arrays = {name: _open_array(folder / f"{name}.npy", stated) for name, stated in header["arrays"].items()}
        _check_digest(folder / ITEMS_FILE, header["items_sha256"])
        for name, stated in header["arrays"].items():
            _check_digest(folder / f"{name}.npy", stated["sha256"])
        vectors = GalleryVectors(arrays["vectors"], np.array(arrays["offsets"]), arrays.get("pooled"))
        _check_agreement(folder, vectors, len(names), len(paths))
        return cls(folder, header, names, paths, vectors)

    def model_config(self) -> ConfigDict:
        """Config of the model that encodes queries.

        Raises:
            DataError: an entry that this version does not know; lists them all.
        """
        faults = config_faults({"default_scope": "gatefuse", "model": self.header["model"]})
        if faults:
            listed = "\n".join(f"  {fault}" for fault in faults)
            raise DataError(f"{self.folder / HEADER_FILE}: the model cannot be built; {REMEDY}\n{listed}")
        return ConfigDict(self.header["model"])

    def check_checkpoint(self, path: str | Path) -> None:
        """Refuse a checkpoint whose bytes are not those that the gallery was encoded with.

        Raises:
            CheckpointError: no such file, or another one.
        """
        if not Path(path).is_file():
            raise CheckpointError(
                f"{path}: no such file, and {self.folder} needs it to encode queries; if it was moved, give its new"
                " place: --checkpoint PATH"
            )
        digest, expected = file_digest(path), self.header["checkpoint_sha256"]
        if digest != expected:
            raise CheckpointError(
                f"{path}: SHA-256 is {digest[:12]}, but {self.folder} was encoded with a checkpoint of {expected[:12]};"
                f" give that one (--checkpoint), or {REMEDY}"
            )


def _open_array(path: Path, stated: Mapping[str, Any]) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)  # torch wants arrays that may be written to
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); missing or truncated, {REMEDY}") from error
    if list(array.shape) != stated["shape"] or str(array.dtype) != stated["dtype"]:
        raise DataError(
            f"{path}: {array.dtype} of shape {array.shape}, expected {stated['dtype']} of shape"
            f" {tuple(stated['shape'])}; {REMEDY}"
        )
    return array


def _check_digest(path: Path, stated: str) -> None:
    if (digest := file_digest(path)) != stated:
        raise DataError(
            f"{path}: SHA-256 is {digest[:12]}, but {HEADER_FILE} states {stated[:12]}; changed, or of another index:"
            f" put the file back, or {REMEDY}"
        )


def _check_agreement(folder: Path, vectors: GalleryVectors, names: int, paths: int) -> None:
    offsets = vectors.offsets
    pooled = len(vectors) if vectors.pooled is None else len(vectors.pooled)
    sound = offsets.ndim == 1 and len(offsets) > 1 and offsets[0] == 0 and (np.diff(offsets) > 0).all()
    if not sound or offsets[-1] != len(vectors.vectors) or {names, paths, pooled} != {len(vectors)}:
        raise DataError(
            f"{folder}: the files contradict each other ({names} names, {paths} paths, {len(vectors)} items by offsets,"
            f" {len(vectors.vectors)} vectors); {REMEDY}"
        )
