"""Line charts over optimisation steps: what to draw, apart from where it comes from."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gatefuse_plugins.files import atomic_writer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = ("-", "--", ":", "-.")


@dataclass
class Line:
    """One curve: ``y`` over ``x`` (steps), with a band from ``low`` to ``high`` where those are known.

    ``colour`` and ``style`` are indices; without them a line takes the colour of its place in the panel.
    """

    label: str
    x: list[int]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    colour: int | None = None
    style: int = 0


@dataclass
class Panel:
    """One set of axes."""

    title: str
    ylabel: str
    lines: list[Line] = field(default_factory=list)
    marker: str = ""


def mean_lines(seeds: Sequence[Sequence[Line]]) -> list[Line]:
    """The same curves of several seeds as one curve each: mean, and a band of one sample standard deviation.

    A curve or a step that some seed lacks (it was stopped early) is left out. One seed is returned as it is.
    """
    if len(seeds) == 1:
        return list(seeds[0])
    merged = []
    for first in seeds[0] if seeds else ():
        same = [line for lines in seeds for line in lines if line.label == first.label]
        if len(same) != len(seeds):
            continue
        values = [dict(zip(line.x, line.y, strict=True)) for line in same]
        steps = sorted(set.intersection(*(set(points) for points in values)))
        means = [statistics.fmean(points[step] for points in values) for step in steps]
        stds = [statistics.stdev(points[step] for points in values) for step in steps]
        low, high = ([m + sign * s for m, s in zip(means, stds, strict=True)] for sign in (-1, 1))
        merged.append(replace(first, x=steps, y=means, low=low, high=high))
    return [line for line in merged if line.x]


def render(panels: list[Panel], out_png: str | os.PathLike[str], title: str | None) -> None:
    """Stack ``panels`` over a common step axis, legends beside them, into one PNG that is written atomically.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, and Agg whatever the display

    figure = Figure(figsize=(10, 1 + 3.1 * max(len(panels), 1)), layout="constrained")
    if title:
        figure.suptitle(title)
    axes = figure.subplots(max(len(panels), 1), 1, squeeze=False, sharex=True)[:, 0]
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, panel)
    if not panels:
        axes[0].text(0.5, 0.5, "the log holds no row yet", ha="center", transform=axes[0].transAxes)
    axes[-1].set_xlabel("optimisation step")
    with atomic_writer(out_png) as stream:
        figure.savefig(stream, format="png", dpi=120)


def _draw_panel(axis: Axes, panel: Panel) -> None:
    from matplotlib import colormaps

    tab20 = [colormaps["tab20"](index) for index in range(20)]
    colours = tab20[::2] + tab20[1::2]  # ten strong colours, then ten light ones
    for index, line in enumerate(panel.lines):
        colour = colours[(index if line.colour is None else line.colour) % len(colours)]
        marker = panel.marker or ("o" if len(line.x) == 1 else "")  # a line of one point would be invisible
        style = STYLES[line.style]
        axis.plot(line.x, line.y, style, label=line.label, color=colour, linewidth=1.6, marker=marker, markersize=4)
        if line.low is not None and line.high is not None:
            axis.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
    axis.set_title(panel.title, loc="left", fontsize=11)
    axis.set_ylabel(panel.ylabel)
    axis.tick_params(labelbottom=True)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
