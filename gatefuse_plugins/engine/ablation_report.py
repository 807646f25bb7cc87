"""What an ablation found: mean and spread of every metric, as a table, JSON, CSV and a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gatefuse_plugins.engine.ablation import TRAINING_LOG, AblationRun
from gatefuse_plugins.engine.ablation_figures import (
    Figures,
    Spread,
    read_result,
    run_values,
    summarise,
    summarise_sweep,
)
from gatefuse_plugins.engine.ablation_sweep import AVERAGE, Sweep
from gatefuse_plugins.engine.curves import draw_curves
from gatefuse_plugins.files import atomic_writer, write_json

_CAPTION = "mean ± sample standard deviation over seeds; '-' where there is one seed"


def summary_table(summary: Figures, title: str) -> Table:
    """A row for each figure, a column for each arm."""
    table = Table(title=title, caption=_CAPTION)
    table.add_column("figure", no_wrap=True)
    counts = [max(spread.count for spread in figures.values()) for figures in summary.values()]
    for arm, count in zip(summary, counts, strict=True):
        table.add_column(_heading(arm, count), justify="right")
    for name in dict.fromkeys(name for figures in summary.values() for name in figures):
        _add_row(table, name, [figures.get(name) for figures in summary.values()], counts)
    return table


def sweep_table(by_value: dict[str, Figures], metric: str, title: str) -> Table:
    """A row for each value of a sweep and one for their average, a column for each arm, one ``metric``.

    A cell of fewer seeds than its column's heading states says of how many it is.
    """
    table = Table(title=title, caption=f"{metric}: {_CAPTION}")
    table.add_column("value")
    arms = list(dict.fromkeys(arm for figures in by_value.values() for arm in figures))
    rows = {value: [figures.get(arm, {}).get(metric) for arm in arms] for value, figures in by_value.items()}
    counts = [
        max((spread.count for spread in column if spread), default=0) for column in zip(*rows.values(), strict=True)
    ]
    for arm, count in zip(arms, counts, strict=True):
        table.add_column(_heading(arm, count), justify="right")
    for value, spreads in rows.items():
        if value == AVERAGE:
            table.add_section()
        _add_row(table, value, spreads, counts)
    return table


def _heading(arm: str, count: int) -> str:
    return f"{arm} ({count} seed{'s' * (count > 1)})"


def _add_row(table: Table, name: str, spreads: Sequence[Spread | None], counts: Sequence[int]) -> None:
    """Figures that are shares would all look alike with two decimals."""
    digits = 4 if all(abs(spread.mean) <= 1 for spread in spreads if spread) else 2
    cells = []
    for spread, count in zip(spreads, counts, strict=True):
        fewer = f" ({spread.count})" if spread and spread.count < count else ""
        cells.append(spread.shown(digits) + fewer if spread else "")
    table.add_row(name, *cells)


def dataset_names(runs: Sequence[AblationRun]) -> list[str]:
    """Names of the data sets that the runs were trained on; more than one means that arms cannot be compared."""
    identities = [read_result(run).get("dataset") or {} for run in runs]
    return sorted({str(identity.get("name", "a data set without identity")) for identity in identities})


def write_report(runs: Sequence[AblationRun], out: Path, sweep: Sweep | None = None) -> dict[str, Figures]:
    """Write ``ablation.json`` and ``ablation.csv`` (a row an arm and figure) below ``out``.

    Returns:
        The figures under each value of the sweep and under ``AVERAGE``; without a sweep, under ``AVERAGE`` alone.

    Raises:
        DataError: see :func:`run_values`.
    """
    by_value = summarise_sweep(runs, sweep) if sweep else {AVERAGE: summarise(runs)}
    write_json(out / "ablation.json", _as_json(runs, by_value, sweep))
    with atomic_writer(out / "ablation.csv", "w") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*(["value"] if sweep else []), "arm", "figure", "mean", "std", "seeds"])
        for value, figures in by_value.items():
            writer.writerows([*([value] if sweep else []), *row] for row in _rows(figures))
    return by_value


def draw_report(runs: Sequence[AblationRun], path: Path) -> None:
    """Draw the arms side by side: each arm's mean over its seeds, and over the values of a sweep.

    Raises:
        DataError: a training log cannot be read.
        ImportError: matplotlib is not installed (extra ``report``).
    """
    logs: dict[str, list[Path]] = {}
    for run in runs:
        logs.setdefault(run.arm, []).append(run.work_dir / TRAINING_LOG)
    draw_curves(logs, path)


def _rows(summary: Figures) -> Iterable[list[Any]]:
    for arm, figures in summary.items():
        for name, spread in figures.items():
            yield [arm, name, repr(spread.mean), "-" if spread.std is None else repr(spread.std), spread.count]


def _as_json(runs: Sequence[AblationRun], by_value: dict[str, Figures], sweep: Sweep | None) -> dict[str, Any]:
    swept = dict(by_value)
    record: dict[str, Any] = {"dataset": dataset_names(runs), "arms": swept.pop(AVERAGE)}
    if sweep:  # "arms" then holds the averages over the values
        record["sweep"] = {"key": sweep.key, "values": swept}
    record["runs"] = [
        {"arm": run.arm, "seed": run.seed, "work_dir": str(run.work_dir), "values": run_values(run)}
        | ({"value": run.value} if sweep else {})
        for run in runs
    ]
    return record
