"""JSON lines whose identifying fields are checked; every fault is listed with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gatefuse_plugins.data.base_faults import Faults

Line = tuple[int, dict[str, Any]]


def read_lines(path: Path, faults: Faults) -> list[Line]:
    """(line number, object) of every whole JSON object in ``path``; other lines become faults, empty ones do not."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        faults.add("annotation files not found", path)
        return []
    except (OSError, UnicodeDecodeError) as error:
        faults.add("annotation files that cannot be read", f"{path}: {error}")
        return []
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            faults.add(f"{path}: lines that are no whole JSON object", f"line {number} ({error.msg}, {len(line)} long)")
            continue
        if isinstance(record, dict):
            lines.append((number, record))
        else:
            faults.add(f"{path}: lines that are no whole JSON object", f"line {number} ({type(record).__name__})")
    if not lines:
        faults.add("annotation files without a single usable line", path)
    return lines


def sound_lines(path: Path, faults: Faults) -> list[Line]:
    """Lines whose identifying fields are of the right types and whose qid is new."""
    checks: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "qid": ("an integer or a non-empty text", lambda value: _is_id(value)),
        "query": ("a text", lambda value: isinstance(value, str)),
        "vid": ("a non-empty text", lambda value: isinstance(value, str) and bool(value)),
        "duration": ("a positive number", lambda value: _is_number(value) and value > 0),
    }
    good: list[Line] = []
    seen: dict[int | str, int] = {}
    for number, record in read_lines(path, faults):
        wrong = [name for name, (_, valid) in checks.items() if not valid(record.get(name))]
        for name in wrong:
            kind = f"{path}: lines whose {name} is not {checks[name][0]}"
            faults.add(kind, f"line {number} ({record.get(name)!r})")
        if wrong:
            continue
        first = seen.setdefault(record["qid"], number)
        if first != number:
            faults.add(f"{path}: lines that repeat a qid", f"line {number} (qid {record['qid']} of line {first})")
        good.append((number, record))
    return good


def number_matrix(value: Any) -> np.ndarray | None:
    """``value`` as a float64 matrix, or None where it is not a list of equally long lists of numbers."""
    if not isinstance(value, list) or not all(isinstance(row, list) and all(map(_is_number, row)) for row in value):
        return None
    if len({len(row) for row in value}) > 1:
        return None
    return np.array(value, dtype=np.float64).reshape(len(value), -1) if value else np.zeros((0, 0))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # no NaN, no infinity


def _is_id(value: Any) -> bool:
    return bool(value) if isinstance(value, str) else type(value) is int
