"""Gates over training, and runs side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gatefuse_plugins.analysis.gates.evolution import GateCurveOverTraining
from gatefuse_plugins.analysis.gates.html.blocks import Block, Section, beside, paragraph, table
from gatefuse_plugins.analysis.gates.html.rounding import rounded, rounded_list
from gatefuse_plugins.analysis.gates.report import GateReport

_METRICS = 8


def evolution(report: GateReport) -> Section | None:
    """Means and spreads of gates, and metrics, over optimisation steps."""
    found = report.evolution
    if found is None:
        return None
    groups: dict[str, list[GateCurveOverTraining]] = {}
    for curve in found.gates:
        groups.setdefault(curve.label.partition(",")[0], []).append(curve)
    charts = [
        _over_steps(f"{kind}: {figure}", [(curve.label, curve.steps, getattr(curve, figure)) for curve in curves])
        for kind, curves in groups.items()
        for figure in ("mean", "std")
    ]
    names = list(found.metrics)[:_METRICS]
    charts += [_over_steps(name, [(name, *found.metrics[name].T)]) for name in names]
    intro = f"From {found.source}."
    if len(found.metrics) > _METRICS:
        intro += f" {_METRICS} of {len(found.metrics)} metrics are drawn."
    return {"id": "evolution", "title": "Over training", "blocks": [paragraph(intro), beside(charts)]}


def _over_steps(title: str, curves: Iterable[tuple[str, Any, Any]]) -> Block:
    """Curves that may be logged at different steps; each has a value, or a gap, at every step of any."""
    held = [(label, np.asarray(steps, float), np.asarray(values, float)) for label, steps, values in curves]
    steps = np.unique(np.concatenate([one[1] for one in held]))
    series = []
    for mark, (label, own, values) in enumerate(held):
        placed = np.full(len(steps), np.nan)
        placed[np.searchsorted(steps, own)] = values
        series.append({"label": label, "mark": mark, "values": rounded_list(placed)})
    x = {"label": "optimisation step", "values": rounded_list(steps)}
    return {"type": "lines", "title": title, "x": x, "y": "", "neutral": None, "series": series}


def runs(report: GateReport) -> Section | None:
    """Figures of several runs by gate, and paired differences on common samples."""
    found = report.runs
    if found is None:
        return None
    names = [f"{name} ({count:,} samples)" for name, count in zip(found.names, found.samples, strict=True)]
    figures = {
        "Mean": found.means,
        "Std": found.stds,
        "Saturated fraction": found.saturated,
        "Std between samples": found.between_samples,
    }
    tables = []
    for title, values in figures.items():
        rows = [[label, *rounded_list(of_gate)] for label, of_gate in zip(found.labels, values.T, strict=True)]
        tables.append(table(title, ["Gate", *names], rows))
    paired = [
        [one.label, one.first, one.second, *map(rounded, (one.difference, one.rho, one.p, one.n))]
        for one in found.paired
    ]
    columns = ["Gate", "First", "Second", "Second - first", "Spearman's rho", "Wilcoxon p", "Samples"]
    blocks = [beside(tables), table("On common samples", columns, paired)]
    return {"id": "runs", "title": "Runs compared", "blocks": blocks}
