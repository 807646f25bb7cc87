"""How gates changed over training, from ``training_log.csv``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatefuse_plugins.analysis.gates.summary import Floats
from gatefuse_plugins.engine.training_log import FIXED_COLUMNS, read_training_log
from gatefuse_plugins.errors import DataError

# GateMonitorHook's scalars
_MEAN = re.compile(r"gates/(?P<name>.+)/mean")


@dataclass(frozen=True)
class GateCurveOverTraining:
    """One gate; arrays of equal length, NaN where a figure was not logged.

    Attributes:
        name, label: the tap's name, and a short name.
        steps: (n,) optimisation steps.
        mean, std, minimum, maximum: (n,) of the gate's values at that step.
    """

    name: str
    label: str
    steps: Floats
    mean: Floats
    std: Floats
    minimum: Floats
    maximum: Floats


@dataclass(frozen=True)
class GateEvolution:
    """
    Attributes:
        source: the file.
        gates: a curve for each gate that was monitored.
        metrics: evaluation metrics over steps: name to (n, 2) step and value.
    """

    source: str
    gates: tuple[GateCurveOverTraining, ...]
    metrics: Mapping[str, Floats]


def gate_evolution(path: str | Path, labels: Mapping[str, str] | None = None) -> GateEvolution:
    """Read the gate columns that the monitor hook writes.

    Args:
        path: ``training_log.csv`` of a run.
        labels: short names of gates, by tap name; of others, what is left of their names without common parts.

    Raises:
        DataError: no training log, or one without gate columns.
    """
    columns, rows = read_training_log(path)
    table = {name: np.array([_number(row[name]) for row in rows], float) for name in columns if name != "split"}
    split = np.array([row["split"] for row in rows], str)
    names = [found["name"] for name in columns if (found := _MEAN.fullmatch(name))]
    if not names:
        raise DataError(
            f"{path}: no gate columns (gates/NAME/mean); expected the log of a run whose config has GateMonitorHook"
        )
    return GateEvolution(
        str(path),
        tuple(_curve(name, label, table) for name, label in _labelled(names, labels or {}).items()),
        {
            name: np.stack([table["step"], table[name]], axis=1)[held]
            for name in columns
            if name not in FIXED_COLUMNS
            and not name.startswith("gates/")
            and (held := np.isfinite(table[name]) & (split != "train")).any()
        },
    )


def _curve(name: str, label: str, table: Mapping[str, Floats]) -> GateCurveOverTraining:
    held = np.isfinite(table[f"gates/{name}/mean"])
    absent = np.full(len(held), math.nan)
    figures = (table.get(f"gates/{name}/{key}", absent)[held] for key in ("mean", "std", "min", "max"))
    return GateCurveOverTraining(name, label, table["step"][held], *figures)


def _labelled(names: list[str], known: Mapping[str, str]) -> dict[str, str]:
    """A short name for each."""
    parts = [name.split(".") for name in names]
    same = [len(set(column)) == 1 for column in zip(*parts, strict=False)] if len(names) > 1 else []
    return {
        name: known.get(name) or ".".join(part for at, part in enumerate(held) if at >= len(same) or not same[at])
        for name, held in zip(names, parts, strict=True)
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # an empty cell
