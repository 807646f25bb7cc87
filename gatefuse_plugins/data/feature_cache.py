"""Reader of frozen vision features: tokens of each picture, memory-mapped.

Layout below the root that ``build_feature_cache`` was given::

    KEY/cache.json          format, encoder digest, transform, dtype, tokens, width; KEY is the digest of these
    KEY/features.bin        rows of tokens * width numbers; only ever appended to
    KEY/rows.txt            a line per finished batch: the SHA-256 of each row's image file
    KEY/names-DIGEST.json   name -> row for one set of images: what ``FeatureCache.open`` takes
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatefuse_plugins.data.base_faults import capped_list
from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.files import read_json

FORMAT = 1
HEADER_FILE = "cache.json"
FEATURES_FILE = "features.bin"
NAMES_PATTERN = "names-*.json"
HEADER_KEYS = ("format", "encoder_digest", "transform", "dtype", "num_tokens", "width")


class FeatureCache:
    """Rows of one set of images. Picklable and fork-safe: each process maps the file at its first read.

    Attributes:
        path: the index that was opened.
        num_tokens, width: shape of one row.
        dtype: as stored, ``float16`` or ``float32``.
        encoder_digest: ``module_digest`` of the encoder.
        transform: canonical transform key.
    """

    def __init__(self, path: Path, header: dict[str, Any], rows: dict[str, int]) -> None:
        self.path = path
        self.num_tokens, self.width = int(header["num_tokens"]), int(header["width"])
        self.dtype, self.encoder_digest = str(header["dtype"]), str(header["encoder_digest"])
        self.transform = str(header["transform"])
        self._rows = rows
        self._mapped: np.memmap | None = None

    @classmethod
    def open(cls, path: str | Path) -> FeatureCache:
        """Open an index file, or a folder that holds exactly one.

        Raises:
            DataError: no index there, another format, or fewer stored rows than the index names.
        """
        index = cls._index_file(Path(path))
        header_file = index.parent / HEADER_FILE
        header = read_json(header_file)
        lacking = [key for key in HEADER_KEYS if key not in header]
        if lacking or header["format"] != FORMAT:
            stated = f"lacks {', '.join(lacking)}" if lacking else f"is format {header['format']}"
            raise DataError(f"{header_file}: {stated}, expected format {FORMAT}; delete the folder to build it again")
        cache = cls(index, header, read_json(index)["rows"])
        needed = (max(cache._rows.values(), default=-1) + 1) * cache.row_bytes
        features = index.parent / FEATURES_FILE
        held = features.stat().st_size if features.exists() else 0
        if held < needed:
            raise DataError(
                f"{features}: {held} bytes, expected at least {needed} (rows of {cache.num_tokens} x {cache.width} "
                f"{cache.dtype}); delete {index.parent} to build it again"
            )
        return cache

    @staticmethod
    def _index_file(path: Path) -> Path:
        if path.is_file():
            return path
        found = sorted(path.glob(NAMES_PATTERN))
        if len(found) == 1:
            return found[0]
        holds = f"{len(found)} indices, give one of: {capped_list(found)}" if found else "no feature cache index"
        raise DataError(f"{path}: {holds}; expected a file {NAMES_PATTERN} made by build_feature_cache")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row on disk."""
        return self.num_tokens * self.width * np.dtype(self.dtype).itemsize

    @property
    def names(self) -> list[str]:
        """Names of all images that can be read."""
        return list(self._rows)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that have no row, each once, in order."""
        return [name for name in dict.fromkeys(names) if name not in self._rows]

    def read(self, names: Sequence[str]) -> Tensor:
        """Tokens of ``names``, float32 ``(len(names), num_tokens, width)``; unknown ones raise :class:`DataError`."""
        absent = self.missing(names)
        if absent:
            raise DataError(f"{self.path}: no features of {capped_list(absent)}{suggestion(absent[0], self._rows)}")
        rows = np.fromiter((self._rows[name] for name in names), dtype=np.int64, count=len(names))
        return torch.from_numpy(np.asarray(self._map()[rows]).astype(np.float32, copy=False))

    def _map(self) -> np.memmap:
        if self._mapped is None:
            features = self.path.parent / FEATURES_FILE
            # a count fixed here keeps the shape valid while another process appends
            count = features.stat().st_size // self.row_bytes
            shape = (count, self.num_tokens, self.width)
            self._mapped = np.memmap(features, dtype=self.dtype, mode="r", shape=shape)
        return self._mapped

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}  # pickling the map would copy every feature
