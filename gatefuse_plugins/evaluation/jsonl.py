"""JSON lines: every broken line is reported with its number, no good one is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer


class Line(NamedTuple):
    number: int  # from 1
    entry: dict[str, Any]


def read_jsonl(path: str | Path) -> tuple[list[Line], list[str]]:
    """The objects of a ``.jsonl`` file, and a sentence for every line that holds none (blank lines are left out).

    Raises:
        DataError: the file is missing or cannot be read.
    """
    try:
        raw = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    lines, faults = [], []
    for number, text in enumerate(raw, 1):
        if not text.strip():
            continue
        try:
            value = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:  # ValueError: JSON, UTF-8, or an integer of too many digits
            cut = "; the file ends there: was writing it cut short?" if number == len(raw) else ""
            faults.append(f"line {number}: not valid JSON ({error}){cut}")
            continue
        if isinstance(value, dict):
            lines.append(Line(number, value))
        else:
            faults.append(f"line {number}: holds a JSON {type(value).__name__}, expected an object")
    return lines, faults


def write_jsonl(path: str | Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """One object a line, UTF-8, atomically; ValueError (and no file) where a value is NaN or infinite."""
    with atomic_writer(path, "w") as stream:
        for entry in entries:
            stream.write(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")
