"""The figures of an ablation: each run's, their mean and spread over seeds, and over the values of a sweep."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatefuse_plugins.engine.ablation import METRICS_FILE, TRAINING_LOG, AblationRun
from gatefuse_plugins.engine.ablation_sweep import AVERAGE, Sweep
from gatefuse_plugins.engine.training_log import read_training_log
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import read_json

EPOCHS_TO_BEST = "epochs to best"
WALL_SECONDS = "wall seconds"


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) over ``count`` seeds; ``std`` is None for a single one."""

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def shown(self, digits: int = 2) -> str:
        """Mean ± standard deviation with so many decimals."""
        return f"{self.mean:.{digits}f} ± {'-' if self.std is None else f'{self.std:.{digits}f}'}"


Figures = dict[str, dict[str, Spread]]
"""Arm -> figure -> spread."""


def read_result(run: AblationRun) -> dict[str, Any]:
    """``metrics.json`` of a finished run.

    Raises:
        DataError: it is missing, broken, of an unfinished run, or of another seed.
    """
    path = run.work_dir / METRICS_FILE
    record = read_json(path)
    if not record.get("finished"):
        raise DataError(f"{path}: the run has not finished; run the same command again to resume it")
    if record.get("seed") != run.seed:
        raise DataError(f"{path}: was trained with seed {record.get('seed')}, expected {run.seed}")
    return record


def run_values(run: AblationRun) -> dict[str, float]:
    """Every figure of a finished run: metrics of its best validation, epochs until then, wall time of the training.

    Where the run ended with a test (``FinalTestHook``), ``test/last/NAME`` is that of the last epoch and
    ``test/best/NAME`` that of the epoch that validation chose.
    Where no best checkpoint was selected the metrics are the last validation's and epochs to best is nan. Wall time
    runs to the last row of the training log, over all parts of a resumed run.

    Raises:
        DataError: see :func:`read_result`; or the run holds no validation.
    """
    record = read_result(run)
    best = record.get("best") or {}
    metrics = best.get("metrics") or record.get("best_metrics") or record.get("metrics")
    if not metrics:
        raise DataError(f"{run.work_dir}: the run finished without a validation; expected one at the end of training")
    rows = read_training_log(run.work_dir / TRAINING_LOG)[1]
    seconds = float(rows[-1]["seconds"]) if rows else math.nan
    tested: dict[str, dict[str, float | None]] = record.get("test") or {}
    for name in next(iter(tested.values()), {}):  # side by side
        metrics = {**metrics, **{f"test/{epoch}/{name}": found.get(name) for epoch, found in tested.items()}}
    known = {name: value for name, value in metrics.items() if value is not None}
    return {**known, EPOCHS_TO_BEST: float(best.get("epoch", math.nan)), WALL_SECONDS: seconds}


def summarise(runs: Sequence[AblationRun]) -> Figures:
    """Arm -> figure -> spread over its seeds; a figure that some seed of the arm lacks is left out."""
    values: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        values.setdefault(run.arm, []).append(run_values(run))
    return {arm: {name: Spread.of(column) for name, column in _shared(seeds).items()} for arm, seeds in values.items()}


def summarise_sweep(runs: Sequence[AblationRun], sweep: Sweep) -> dict[str, Figures]:
    """Value -> arm -> figure -> spread over seeds, and the same under ``AVERAGE``.

    The average over values is taken within each seed, then its spread over seeds. A seed of an arm that lacks a value
    has no average, since one over other values would not compare.
    """
    seeds: dict[str, dict[int, list[dict[str, float]]]] = {}
    for run in runs:
        seeds.setdefault(run.arm, {}).setdefault(run.seed, []).append(run_values(run))
    averages: Figures = {}
    for arm, by_seed in seeds.items():
        whole = [_shared(values) for values in by_seed.values() if len(values) == len(sweep.values)]
        means = [{name: statistics.fmean(column) for name, column in columns.items()} for columns in whole]
        if means:
            averages[arm] = {name: Spread.of(column) for name, column in _shared(means).items()}
    by_value = {value: summarise([run for run in runs if run.value == value]) for value in sweep.values}
    return by_value | {AVERAGE: averages}


def main_metric(runs: Sequence[AblationRun]) -> str:
    """The metric by which every run chose its best checkpoint.

    Raises:
        DataError: a run chose none (its config has no ``save_best``), or runs chose by different ones.
    """
    names = {(read_result(run).get("best") or {}).get("metric") for run in runs}
    if len(names) != 1 or None in names:
        found = ", ".join(sorted(str(name) for name in names))
        raise DataError(f"runs chose their best checkpoint by {found}; expected one save_best for all, to compare it")
    return str(names.pop())


def _shared(rows: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Columns that every row has."""
    return {name: [row[name] for row in rows] for name in rows[0] if all(name in row for row in rows)}
