"""``training_log.csv``: an append-only table whose header grows when new columns appear."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer

FIXED_COLUMNS = ("step", "epoch", "split", "seconds")


class TrainingLog:
    """One CSV file; opening it repairs a last row that a killed run left half written.

    Args:
        path: the file; made with the first row.

    Raises:
        DataError: the file exists and is no training log.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.columns: list[str] = list(FIXED_COLUMNS)
        if self.path.exists():
            self.columns, rows = read_training_log(self.path)
            self._rewrite(rows)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row at once; columns that are new extend the header (the file is replaced atomically)."""
        new = [name for name in row if name not in self.columns]
        if new or not self.path.exists():
            rows = read_training_log(self.path)[1] if self.path.exists() else []
            self.columns += new
            self._rewrite([*rows, row])
            return
        with open(self.path, "a", encoding="utf-8", newline="") as stream:
            stream.write(_csv_text(self.columns, [row]))

    def keep(self, rows: list[dict[str, str]]) -> None:
        """Replace the rows by ``rows``."""
        self._rewrite(rows)

    def rows(self) -> list[dict[str, str]]:
        """All rows, every value as its text."""
        return read_training_log(self.path)[1] if self.path.exists() else []

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        header = dict(zip(self.columns, self.columns, strict=True))
        with atomic_writer(self.path, "w") as stream:
            stream.write(_csv_text(self.columns, [header, *rows]))


def read_training_log(path: str | os.PathLike[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a training log; a torn last row is left out.

    Raises:
        DataError: unreadable, no training log, or a broken row that is not the last.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a training log ({error})") from error
    # A row is complete once its line end is written.
    table = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    columns = table[0] if table else []
    if tuple(columns[: len(FIXED_COLUMNS)]) != FIXED_COLUMNS:
        raise DataError(f"{path}: no training log; expected a header that begins with {','.join(FIXED_COLUMNS)}")
    for number, values in enumerate(table[1:], start=2):
        if len(values) != len(columns):
            raise DataError(f"{path}: row {number} has {len(values)} values; expected {len(columns)}")
    return columns, [dict(zip(columns, values, strict=True)) for values in table[1:]]


def _csv_text(columns: list[str], rows: Iterable[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writerows(rows)
    return buffer.getvalue()
