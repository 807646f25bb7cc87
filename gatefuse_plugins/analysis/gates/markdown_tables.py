"""Pieces of Markdown."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table; columns in ``left`` stand left, all others right."""
    rule = ["---" if at in left else "---:" for at in range(len(head))]
    return "\n".join("| " + " | ".join(map(escape, row)) + " |" for row in (head, rule, *rows))


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def escape(text: str) -> str:
    """``text`` within a cell: no cell or line ends there, and no tag begins."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def number(value: float, percent: bool = False) -> str:
    """Four significant digits; a dash for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:.1%}" if percent else f"{value:.4g}"


def interval(mean: float, std: float) -> str:
    """``0.5 ± 0.1``; a dash without a mean."""
    return number(mean) if math.isnan(mean) else f"{mean:.3g} ± {std:.2g}"


def own_tables(results: Mapping[str, Any]) -> str:
    """Results of registered analyses: fields of equal length as columns, others by name."""
    return "\n\n".join(f"### {name}\n\n{_own(result)}" for name, result in results.items())


def _own(result: Any) -> str:
    held = {item.name: getattr(result, item.name) for item in fields(result)} if is_dataclass(result) else {"": result}
    columns: dict[int, dict[str, list[str]]] = {}
    facts = []
    for name, value in held.items():
        array = np.asarray(value) if isinstance(value, list | tuple | np.ndarray) else None
        if array is not None and array.ndim == 1 and array.dtype.kind in "biufUS":
            columns.setdefault(len(array), {})[name] = [_cell(one) for one in array.tolist()]
        else:
            facts.append(f"{name}: {value}" if name else str(value))
    tables = [table(list(group), list(zip(*group.values(), strict=True))) for group in columns.values()]
    return "\n\n".join([*tables, *([bullets(facts)] if facts else [])])


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)
