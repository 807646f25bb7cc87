"""Append-only rows of a feature cache on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gatefuse_plugins.data.feature_cache import FEATURES_FILE
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import write_json

JOURNAL_FILE = "rows.txt"


class RowStore:
    """Rows that survive a crash: data first, then one journal line per batch. To be used under ``files.exclusive``.

    Opening cuts off whatever an interrupted process left beyond the last whole journal line.
    """

    def __init__(self, folder: Path, row_shape: tuple[int, int], dtype: str) -> None:
        self.folder, self.row_shape, self.dtype = folder, row_shape, dtype
        self.row_bytes = row_shape[0] * row_shape[1] * np.dtype(dtype).itemsize
        self._features, self._journal = folder / FEATURES_FILE, folder / JOURNAL_FILE
        self.rows = self._recover()

    def _recover(self) -> dict[str, int]:
        self._features.touch()
        self._journal.touch()
        text = self._journal.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        digests = whole.decode().split()
        held, needed = self._features.stat().st_size, len(digests) * self.row_bytes
        if held < needed:
            raise DataError(
                f"{self._features}: {held} bytes, expected {needed} for the {len(digests)} rows in {JOURNAL_FILE}; "
                f"something cut it; delete {self.folder} to build it again"
            )
        os.truncate(self._journal, len(whole))
        os.truncate(self._features, needed)
        return {digest: row for row, digest in enumerate(digests)}

    def append(self, rows: np.ndarray, digests: Sequence[str]) -> None:
        """Store ``rows`` (n, tokens, width) of the images with ``digests``; on disk when this returns."""
        for path, data in ((self._features, rows.tobytes()), (self._journal, (" ".join(digests) + "\n").encode())):
            with open(path, "ab") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        for digest in digests:
            self.rows[digest] = len(self.rows)

    def write_index(self, digests: Mapping[str, str]) -> Path:
        """Write name -> row for the images ``name -> digest``; the same images give the same file."""
        content = json.dumps(sorted(digests.items())).encode()
        path = self.folder / f"names-{hashlib.sha256(content).hexdigest()[:16]}.json"
        if not path.exists():
            write_json(path, {"rows": {name: self.rows[digest] for name, digest in digests.items()}}, indent=None)
        return path
