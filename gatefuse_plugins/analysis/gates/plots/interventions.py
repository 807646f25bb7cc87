"""What interventions on gates did to the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gatefuse_plugins.analysis.gates.intervention_table import InterventionRow, InterventionTable
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import literal, plain_axis, say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_METRICS = 4
_SHOWN, _OPEN = "#D55E00", "0.45"


@literal
def interventions_figure(table: InterventionTable) -> Figure:
    """Changes of the most telling metrics with their intervals, a row for each intervention and choice of gates.

    Raises:
        ImportError: matplotlib is not installed.
    """
    metrics = table.metrics[:MAX_METRICS]
    names = list(dict.fromkeys((row.intervention, row.where) for row in table.rows))
    height = max(1.2, 0.24 * len(names))
    note = (
        "change with the intervention, and its 95 % interval; orange: the interval excludes 0"
        f" · {table.samples:,} samples in {table.groups:,} groups"
    )
    sheet = Sheet(max(10.0, 3.6 + 3.1 * len(metrics)), (height,), "What the gates are worth", note)
    axes = sheet.row(max(len(metrics), 1), left=3.3, gap=0.35)
    if not names or not metrics:
        say_empty(axes[0], "no interventions")
        return sheet.figure
    for axis, metric in zip(axes, metrics, strict=True):
        rows = {(row.intervention, row.where): row for row in table.rows if row.metric == metric}
        baseline = next((row.baseline for row in rows.values() if np.isfinite(row.baseline)), np.nan)
        unit = f"change, {table.unit}" if table.unit else "change"
        plain_axis(axis, f"{metric} ({baseline:.4g} without)", unit)
        for at, name in enumerate(names):
            _draw_row(axis, at, rows.get(name))
        axis.axvline(0, color="black", lw=0.9)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_yticks(range(len(names)), [] if axis is not axes[0] else [f"{what}: {where}" for what, where in names])
        for at in range(1, len(names)):
            if names[at][0] != names[at - 1][0]:
                axis.axhline(at - 0.5, color="0.85", lw=0.8)
    return sheet.figure


def _draw_row(axis: Axes, at: int, row: InterventionRow | None) -> None:
    if row is None or not row.applicable or not np.isfinite(row.change):
        axis.text(
            0.5, at, "n/a", transform=axis.get_yaxis_transform(), va="center", ha="center", fontsize=7, color="0.5"
        )
        return
    colour = _SHOWN if row.shown else _OPEN
    if np.isfinite(row.low) and np.isfinite(row.high):
        axis.plot([row.low, row.high], [at, at], color=colour, lw=2.2, solid_capstyle="butt")
    axis.plot([row.change], [at], "o", color=colour, ms=4.5)
