"""Rows of MSR-VTT's comma-separated annotation files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.errors import suggestion


def read_table(path: Path, columns: Sequence[str], faults: Faults) -> list[dict[str, str]]:
    """Rows that have a value in every one of ``columns``; others become faults. An empty sentence is a value.

    Commas and quotes that are not quoted tear rows apart or join them. Read leniently, that gives other captions and
    fewer of them without a word, so such rows are faults too.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        faults.add("missing annotation files", path)
        return []
    except (OSError, UnicodeDecodeError) as error:
        faults.add("unreadable annotation files", f"{path}: {error}")
        return []
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, dict[Any, Any]]] = []
    try:
        header = reader.fieldnames or []
        if lacking := [f"{name}{suggestion(name, header)}" for name in columns if name not in header]:
            faults.add(f"{path}: the first line lacks columns, expected {', '.join(columns)}", *lacking)
            return []
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        kind = f"{path}: not valid CSV, expected texts that hold commas or quotes in quotes, and quotes in them doubled"
        faults.add(kind, f"the row after line {reader.line_num}: {error}")
        return []
    if not rows:
        faults.add("annotation files without a single video, expected a line for each after the first", path)
    return _whole_rows(path, rows, columns, faults)


def _whole_rows(
    path: Path, rows: Sequence[tuple[int, dict[Any, Any]]], columns: Sequence[str], faults: Faults
) -> list[dict[str, str]]:
    """Rows that are as the header says; the others become faults, named by the line that they end in."""
    short, long, broken, whole = [], [], [], []
    for line, row in rows:
        if None in row:  # where the csv module puts values beyond the header's
            long.append(line)
        elif any(row[name] is None for name in columns) or not row["video_id"].strip():
            short.append(line)
        elif any("\n" in text or "\r" in text for text in row.values() if text):
            broken.append(line)
        else:
            whole.append(row | {"video_id": row["video_id"].strip()})
    faults.add(f"{path}: lines without a video_id or a column", *short)
    faults.add(f"{path}: lines with more values than columns, expected texts that hold commas in quotes", *long)
    faults.add(f"{path}: rows over several lines (listed: the last), expected one line a row; an open quote?", *broken)
    return whole
