"""Gates over training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gatefuse_plugins.analysis.gates.evolution import GateCurveOverTraining, GateEvolution
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import (
    GROUP_COLOURS,
    LAYER_STYLES,
    beside,
    literal,
    plain_axis,
    say_empty,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_METRICS = 8


@literal
def evolution_figure(found: GateEvolution) -> Figure:
    """Mean and standard deviation of each gate, and evaluation metrics, over optimisation steps.

    Raises:
        ImportError: matplotlib is not installed.
    """
    metrics = dict(list(found.metrics.items())[:MAX_METRICS])
    sheet = Sheet(11.5, (2.6, 1.8, 1.8) if metrics else (2.6, 1.8), "Gates over training", found.source)
    (means,) = sheet.row(1, right=3.2)
    plain_axis(means, "mean; shaded: ± one standard deviation of the values", "", "gate value")
    (spreads,) = sheet.row(1, right=3.2)
    plain_axis(
        spreads, "standard deviation of the values", "" if metrics else "optimisation step", "standard deviation"
    )
    for at, gate in enumerate(found.gates):
        _draw_gate(means, spreads, gate, at)
    for axis in (means, spreads):
        if not axis.has_data():
            say_empty(axis)
    beside(means)
    if metrics:
        (axis,) = sheet.row(1, right=3.2)
        plain_axis(axis, "evaluation", "optimisation step", "metric")
        for at, (name, points) in enumerate(metrics.items()):
            axis.plot(*points.T, "o-", ms=3.5, lw=1.3, color=GROUP_COLOURS[at % len(GROUP_COLOURS)], label=name)
        beside(axis)
    return sheet.figure


def _draw_gate(means: Axes, spreads: Axes, gate: GateCurveOverTraining, at: int) -> None:
    colour, style = GROUP_COLOURS[at % len(GROUP_COLOURS)], LAYER_STYLES[at // len(GROUP_COLOURS) % len(LAYER_STYLES)]
    held = np.isfinite(gate.mean)
    if not held.any():
        return
    steps, mean, std = gate.steps[held], gate.mean[held], gate.std[held]
    marker = "o" if len(steps) < 3 else ""
    means.plot(steps, mean, color=colour, ls=style, lw=1.5, marker=marker, ms=4, label=gate.label)
    means.fill_between(steps, mean - std, mean + std, color=colour, alpha=0.1, lw=0)
    spreads.plot(steps, std, color=colour, ls=style, lw=1.4, marker=marker, ms=4)
