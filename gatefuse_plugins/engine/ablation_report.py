"""What an ablation found: mean and spread of every metric, as a table, JSON, CSV and a picture."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from gatefuse_plugins.engine.ablation import TRAINING_LOG, AblationRun, read_result
from gatefuse_plugins.engine.curves import draw_curves
from gatefuse_plugins.engine.training_log import read_training_log
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer, write_json

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

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {'-' if self.std is None else f'{self.std:.2f}'}"


def run_values(run: AblationRun) -> dict[str, float]:
    """Every figure of a finished run: metrics of its best validation, epochs until then, wall time of the training.

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
    return {**metrics, EPOCHS_TO_BEST: float(best.get("epoch", math.nan)), WALL_SECONDS: seconds}


def summarise(runs: Sequence[AblationRun]) -> dict[str, dict[str, Spread]]:
    """Arm -> figure -> spread over its seeds; a figure that some seed of the arm lacks is left out."""
    values: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        values.setdefault(run.arm, []).append(run_values(run))
    return {
        arm: {
            name: Spread.of([seed[name] for seed in seeds]) for name in seeds[0] if all(name in seed for seed in seeds)
        }
        for arm, seeds in values.items()
    }


def summary_table(summary: dict[str, dict[str, Spread]], title: str) -> Table:
    """A row for each figure, a column for each arm."""
    table = Table(title=title, caption="mean ± sample standard deviation over seeds; '-' where there is one seed")
    table.add_column("figure")
    for arm, figures in summary.items():
        count = max(spread.count for spread in figures.values())
        table.add_column(f"{arm} ({count} seed{'s' * (count > 1)})", justify="right")
    for name in dict.fromkeys(name for figures in summary.values() for name in figures):
        table.add_row(name, *(str(figures[name]) if name in figures else "" for figures in summary.values()))
    return table


def dataset_names(runs: Sequence[AblationRun]) -> list[str]:
    """Names of the data sets that the runs were trained on; more than one means that arms cannot be compared."""
    identities = [read_result(run).get("dataset") or {} for run in runs]
    return sorted({str(identity.get("name", "a data set without identity")) for identity in identities})


def write_report(runs: Sequence[AblationRun], out: Path) -> dict[str, dict[str, Spread]]:
    """Write ``ablation.json``, ``ablation.csv`` (a row an arm and figure) and ``ablation.png`` below ``out``.

    Raises:
        DataError: see :func:`run_values`.
        ImportError: matplotlib is not installed; the JSON and CSV files are written before.
    """
    summary = summarise(runs)
    write_json(out / "ablation.json", _as_json(runs, summary))
    with atomic_writer(out / "ablation.csv", "w") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["arm", "figure", "mean", "std", "seeds"])
        for arm, figures in summary.items():
            for name, spread in figures.items():
                std = "-" if spread.std is None else repr(spread.std)
                writer.writerow([arm, name, repr(spread.mean), std, spread.count])
    logs: dict[str, list[Path]] = {}
    for run in runs:
        logs.setdefault(run.arm, []).append(run.work_dir / TRAINING_LOG)
    draw_curves(logs, out / "ablation.png")
    return summary


def _as_json(runs: Sequence[AblationRun], summary: dict[str, dict[str, Spread]]) -> dict[str, Any]:
    return {
        "dataset": dataset_names(runs),
        "arms": {
            arm: {name: _nan_to_null(asdict(spread)) for name, spread in figures.items()}
            for arm, figures in summary.items()
        },
        "runs": [
            {"arm": run.arm, "seed": run.seed, "work_dir": str(run.work_dir), "values": _nan_to_null(run_values(run))}
            for run in runs
        ],
    }


def _nan_to_null(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no nan."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
