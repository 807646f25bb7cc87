"""Some samples side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gatefuse_plugins.analysis.gates.comparison import SampleComparison
from gatefuse_plugins.analysis.gates.plots.heat_maps import heat_map
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import (
    GROUP_COLOURS,
    LAYER_STYLES,
    beside,
    literal,
    neutral_line,
    plain_axis,
    say_empty,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@literal
def comparison_figure(found: SampleComparison) -> Figure:
    """Means over layers and courses over relative time of each kind, and how far samples lie apart.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = list(dict.fromkeys(gate.kind for gate in found.gates))
    names = [str(sample.id)[:18] for sample in found.samples]
    side = float(np.clip(0.5 * len(names), 1.6, 5.0))
    sheet = Sheet(max(11.0, 4.2 * len(kinds)), (2.3, 2.3, side), f"Gates of {len(names)} samples", below=0.8)
    means, courses = (sheet.row(max(len(kinds), 1), right=2.0) for _ in range(2))
    if not kinds or not names:
        say_empty(means[0], "no gates" if not kinds else "no samples")
        say_empty(courses[0], "no gates" if not kinds else "no samples")
    for mean, course, kind in zip(means, courses, kinds, strict=False):
        if not names:
            continue
        places = [at for at, gate in enumerate(found.gates) if gate.kind == kind]
        plain_axis(mean, f"{kind}: mean ± standard deviation within the sample", "", "gate value")
        plain_axis(course, f"{kind}: course, mean over layers", "relative time", "gate value")
        _draw_kind(mean, course, found, places, names)
        for axis in (mean, course):
            if axis.has_data():
                neutral_line(axis, found.gates[places[0]].neutral)
            else:
                say_empty(axis)
    for axes in (means, courses):
        beside(axes[-1])
    (distances,) = sheet.row(1, left=1.6, right=max(1.0, sheet.figure.get_size_inches()[0] - 3.0 - side * 1.4))
    plain_axis(distances, "root mean square difference of mean gates")
    if len(names):
        heat_map(distances, found.distances, None, rows=names, columns=names, written=len(names) <= 8)
    else:
        say_empty(distances, "no samples")
    return sheet.figure


def _draw_kind(mean: Axes, course: Axes, found: SampleComparison, places: list[int], names: list[str]) -> None:
    spread = np.linspace(-0.15, 0.15, len(names)) if len(names) > 1 else np.zeros(1)
    for at, name in enumerate(names):
        style: dict[str, Any] = {
            "color": GROUP_COLOURS[at % len(GROUP_COLOURS)],
            "ls": LAYER_STYLES[at // len(GROUP_COLOURS) % 4],
        }
        if np.isfinite(found.means[at, places]).any():
            layers = np.arange(len(places)) + spread[at]
            mean.errorbar(
                layers, found.means[at, places], found.stds[at, places], marker="o", ms=4, lw=1.3, capsize=2,
                label=name, **style,
            )  # fmt: skip
        curves = found.curves[at, places]
        held = np.isfinite(curves)
        if held.any():
            count = held.sum(axis=0)
            line = np.where(count > 0, np.where(held, curves, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
            course.plot((np.arange(len(line)) + 0.5) / len(line), line, lw=1.4, label=name, **style)
    ticks = [
        str(at) if found.gates[p].layer is None else f"layer {found.gates[p].layer}" for at, p in enumerate(places)
    ]
    mean.set_xticks(range(len(places)), ticks)
