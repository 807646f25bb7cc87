"""What registered analyses of a reader's own found, whatever dataclass they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from gatefuse_plugins.analysis.gates.html.blocks import Block, Section, table
from gatefuse_plugins.analysis.gates.html.rounding import rounded
from gatefuse_plugins.analysis.gates.report import GateReport

_LONGEST_TEXT = 300


def own_analyses(report: GateReport) -> Section | None:
    """Every result by its fields: columns of equal length as a table, all else as facts."""
    if not report.extra:
        return None
    blocks = [block for name, result in report.extra.items() for block in _own(name, result)]
    return {"id": "own", "title": "Own analyses", "blocks": blocks}


def _own(name: str, result: Any) -> list[Block]:
    held = {one.name: getattr(result, one.name) for one in fields(result)} if is_dataclass(result) else {name: result}
    columns: dict[int, dict[str, list[Any]]] = {}
    facts: list[list[Any]] = []
    for key, value in held.items():
        if (column := _column(value)) is not None:
            columns.setdefault(len(column), {})[key] = column
        elif isinstance(value, Mapping):
            facts += [[f"{key}: {inner}", _fact(one)] for inner, one in value.items()]
        else:
            facts.append([key, _fact(value)])
    tables = [table(name, list(group), list(zip(*group.values(), strict=True))) for group in columns.values()]
    return [*tables, *([{"type": "facts", "rows": facts}] if facts else [])]


def _column(value: Any) -> list[Any] | None:
    """A sequence of single texts and numbers as cells; ``None`` for anything else."""
    if not isinstance(value, list | tuple | np.ndarray) or not len(value):
        return None
    held = value.tolist() if isinstance(value, np.ndarray) else value
    if not all(one is None or isinstance(one, str | int | float | np.generic) for one in held):
        return None
    return [_fact(one) for one in held]


def _fact(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return None if value is None else rounded(value)
    text = f"array of shape {value.shape}" if isinstance(value, np.ndarray) else str(value)
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."
