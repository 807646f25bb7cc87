"""Learning curves of one run, or of several side by side, from their ``training_log.csv``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gatefuse_plugins.engine.panels import STYLES, Line, Panel, mean_lines, render
from gatefuse_plugins.engine.training_log import FIXED_COLUMNS, read_training_log
from gatefuse_plugins.errors import DataError

Log = str | os.PathLike[str]
Table = tuple[list[str], list[dict[str, str]]]
"""Columns and rows of a training log."""

# The metrics to read first; a panel of all eleven would show none of them.
METRIC_ORDER = (
    "mean",
    "R@1",
    "R_s@1",
    "R@5",
    "R@10",
    "R@50",
    "MR-full-mAP",
    "MR-full-R1@0.5",
    "HL-min-VeryGood-mAP",
    "mAP",
)
MAX_LINES = 8
# GateMonitorHook's scalars: statistics of a tap, and the mean |fused - image| of a fusion.
_GATE_MEAN = re.compile(r"gates/(?P<name>.+)/mean")
_GATE_CHANGE = re.compile(r"gates/(?P<name>.+)/change")


def draw_curves(
    csv_paths_by_label: Mapping[str, Log | Sequence[Log]],
    out_png: str | os.PathLike[str],
    title: str | None = None,
) -> None:
    """Draw losses, validation metrics and gates over optimisation steps into one PNG, written atomically.

    One label: a panel for all losses, one for the main validation metrics, one for the gates (mean, with a band
    from minimum to maximum), one for what the fusion changes. Several labels: a panel per quantity (total loss, each
    of the three main metrics, gate means, change) and a colour per label. A label with several logs (seeds of one
    arm) is drawn as their mean, with a band of one sample standard deviation to each side.

    Args:
        csv_paths_by_label: label of a run -> its ``training_log.csv``, or those of its seeds.
        out_png: the picture.
        title: heading; by default the label of a single run.

    Raises:
        DataError: no log is given, or one cannot be read.
        ImportError: matplotlib is not installed (extra ``report``).
    """
    if not csv_paths_by_label:
        raise DataError("curves: no training log given; expected at least one")
    logs = {
        label: [read_training_log(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
        for label, paths in csv_paths_by_label.items()
    }
    if len(logs) == 1 and len(next(iter(logs.values()))) == 1:
        (label, [(columns, rows)]), *_ = logs.items()
        panels, title = _single_run(columns, rows), title or label
    else:
        panels = _several_runs(logs)
    render([panel for panel in panels if panel.lines], out_png, title)


def _single_run(columns: list[str], rows: list[dict[str, str]]) -> list[Panel]:
    losses = [name for name in columns if _is_loss(name)]
    metrics = _metrics(columns, rows)
    gates = _gate_lines(columns, rows)[:MAX_LINES]
    names = without_common_parts([line.label for line in gates])
    return [
        Panel("Training losses", "loss", _lines(rows, "train", {name: name for name in losses[:MAX_LINES]})),
        Panel("Validation", "metric value", _lines(rows, "val", {name: name for name in metrics[:6]}), marker="o"),
        Panel(
            "Gates: mean, band from min to max",
            "gate value",
            [replace(n, label=m) for n, m in zip(gates, names, strict=True)],
        ),
        Panel("Change by the fusion", "mean |fused - input|", _change_lines(columns, rows)[:MAX_LINES]),
    ]


def _several_runs(logs: Mapping[str, Sequence[Table]]) -> list[Panel]:
    ordered = {name: None for tables in logs.values() for table in tables for name in _metrics(*table)}
    metrics = sorted(ordered, key=_metric_rank)[:3]
    loss = Panel("Training loss", "loss")
    panels = {name: Panel(f"Validation {name}", name, marker="o") for name in metrics}
    gates, changes = Panel("Gate means", "gate value"), Panel("Change by the fusion", "mean |fused - input|")
    for colour, (label, tables) in enumerate(logs.items()):
        rows = [table[1] for table in tables]
        added = [(loss, mean_lines([_lines(seed, "train", {"loss": label}) for seed in rows]))]
        added += [
            (panel, mean_lines([_lines(seed, "val", {name: label}) for seed in rows])) for name, panel in panels.items()
        ]
        for panel, find in ((gates, _gate_lines), (changes, _change_lines)):
            # a band from minimum to maximum of the gate would be read as one of the seeds
            found = [[Line(n.label, n.x, n.y) for n in find(*table)[: len(STYLES)]] for table in tables]
            lines = mean_lines(found)
            names = without_common_parts([line.label for line in lines])
            added.append((panel, [replace(n, label=f"{label}: {names[i]}", style=i) for i, n in enumerate(lines)]))
        for panel, lines in added:
            panel.lines += [replace(line, colour=colour) for line in lines]
    return [loss, *panels.values(), gates, changes]


def without_common_parts(names: Sequence[str]) -> list[str]:
    """Dotted names without the parts that stand at the same place in all of them; a single name is kept whole."""
    parts = [name.split(".") for name in names]
    if len(names) < 2 or len({len(part) for part in parts}) > 1:
        return list(names)
    telling = [place for place in range(len(parts[0])) if len({part[place] for part in parts}) > 1]
    return [".".join(part[place] for place in telling) for part in parts]


def _lines(rows: list[dict[str, str]], split: str, labels: Mapping[str, str]) -> list[Line]:
    lines = []
    for column, label in labels.items():
        points = _points(rows, split, column)
        if points:
            lines.append(Line(label, list(points), list(points.values())))
    return lines


def _gate_lines(columns: list[str], rows: list[dict[str, str]]) -> list[Line]:
    """A line per tap: its mean, with a band where minimum and maximum were logged at the same steps."""
    lines = []
    for column, name in _named(columns, _GATE_MEAN).items():
        (line,) = _lines(rows, "train", {column: name}) or [Line(name, [], [])]
        low, high = (_points(rows, "train", f"gates/{name}/{end}") for end in ("min", "max"))
        if list(low) == list(high) == line.x:
            line.low, line.high = list(low.values()), list(high.values())
        lines.append(line)
    return [line for line in lines if line.x]


def _change_lines(columns: list[str], rows: list[dict[str, str]]) -> list[Line]:
    return _lines(rows, "train", _named(columns, _GATE_CHANGE))


def _named(columns: list[str], pattern: re.Pattern[str]) -> dict[str, str]:
    """Column -> name of the tap or fusion, for the columns that match ``pattern``."""
    return {column: match["name"] for column in columns if (match := pattern.fullmatch(column))}


def _points(rows: list[dict[str, str]], split: str, column: str) -> dict[int, float]:
    """Step -> finite value of ``column`` in the rows of ``split``."""
    values = {int(row["step"]): float(row[column]) for row in rows if row["split"] == split and row.get(column)}
    return {step: value for step, value in values.items() if math.isfinite(value)}


def _is_loss(column: str) -> bool:
    return "loss" in column and "/" not in column


def _metrics(columns: list[str], rows: list[dict[str, str]]) -> list[str]:
    """Columns with validation values, the ones to read first in front."""
    training = {name for name in columns if name in FIXED_COLUMNS or name == "lr" or name.startswith("gates/")}
    names = [name for name in columns if name not in training and _points(rows, "val", name)]
    return sorted(names, key=_metric_rank)


def _metric_rank(name: str) -> int:
    short = name.rpartition("/")[2]
    return METRIC_ORDER.index(short) if short in METRIC_ORDER else len(METRIC_ORDER)
