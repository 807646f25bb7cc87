"""Several runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import (
    GROUP_COLOURS,
    beside,
    literal,
    number,
    plain_axis,
    say_empty,
)
from gatefuse_plugins.analysis.gates.runs import PairedDifference, RunComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@literal
def runs_figure(found: RunComparison) -> Figure:
    """Mean, spread between samples and saturation of each gate in each run, and differences on common samples.

    Raises:
        ImportError: matplotlib is not installed.
    """
    count = len(found.labels)
    paired = [one for one in found.paired if np.isfinite(one.difference)]
    heights = [2.4, 1.6, 1.6] + ([max(1.0, 0.22 * len(paired))] if paired else [])
    note = " · ".join(f"{name}: {samples:,} samples" for name, samples in zip(found.names, found.samples, strict=True))
    sheet = Sheet(
        float(np.clip(0.9 * count + 4, 9, 24)), heights, f"Gates of {len(found.names)} runs", note, below=0.85
    )
    figures = (
        ("mean ± standard deviation of all values", "gate value", found.means),
        ("standard deviation between samples", "standard deviation", found.between_samples),
        ("near an end of the range (2 %)", "share of values, %", 100 * found.saturated),
    )
    for at, (title, name, values) in enumerate(figures):
        (axis,) = sheet.row(1, right=2.2)
        plain_axis(axis, title, "", name)
        _draw_bars(axis, found, values, found.stds if not at else None)
    if paired:
        (axis,) = sheet.row(1, left=3.4, right=2.2)
        _draw_paired(axis, paired)
    return sheet.figure


def _draw_bars(axis: Axes, found: RunComparison, values: np.ndarray, whiskers: np.ndarray | None) -> None:
    if not np.isfinite(values).any():
        say_empty(axis)
        return
    places, width = np.arange(len(found.labels)), 0.8 / len(found.names)
    for at, name in enumerate(found.names):
        shifted = places + (at - (len(found.names) - 1) / 2) * width
        colour = GROUP_COLOURS[at % len(GROUP_COLOURS)]
        axis.bar(shifted, values[at], width * 0.95, color=colour, label=name)
        if whiskers is not None:
            axis.errorbar(shifted, values[at], whiskers[at], fmt="none", ecolor="0.3", elinewidth=1, capsize=2)
    axis.axhline(0, color="0.6", lw=0.8)
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if len(places) > 4 else {}
    axis.set_xticks(places, found.labels, fontsize=8, **turned)
    if whiskers is not None:
        beside(axis)


def _draw_paired(axis: Axes, paired: list[PairedDifference]) -> None:
    """A bar for each gate and pair of runs; p and n beside it."""
    plain_axis(axis, "mean difference on common samples (p: Wilcoxon signed-rank)", "difference of mean gate")
    rows = np.arange(len(paired))
    values = [one.difference for one in paired]
    axis.barh(rows, values, color="#0072B2", height=0.65)
    axis.set_yticks(rows, [f"{one.second} - {one.first}: {one.label}" for one in paired], fontsize=8)
    axis.set_ylim(len(paired) - 0.4, -0.6)
    axis.axvline(0, color="0.4", lw=0.9)
    for row, one in zip(rows, paired, strict=True):
        axis.text(
            1.01, row, f"p {number(one.p)}, n {one.n:,}", transform=axis.get_yaxis_transform(), va="center", fontsize=7
        )
