"""Matrices as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.plots.style import colour_scale, figure_inches, number, say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLUMNS = 1000
"""More columns than a picture has pixels for are averaged, neighbours together."""
WRITTEN_CELLS = 150
_BAR_INCHES = 0.12


def heat_map(
    axis: Axes,
    values: NDArray[Any],
    neutral: float | None,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    scale_of: NDArray[Any] | None = None,
    written: bool = False,
    bar: bool = True,
) -> None:
    """Draw ``values`` (rows, columns) with a colour bar at the right; NaN grey.

    Args:
        neutral: where a diverging palette has its middle; ``None`` for an ordinary scale.
        rows, columns: names; those that do not fit are left out.
        scale_of: the values that set the scale, where several maps share one.
        written: write values into the cells of a small map.
        bar: draw the colour bar; where several maps share a scale, one is enough.
    """
    if not np.isfinite(values).any():
        say_empty(axis)
        return
    shown = averaged_columns(values)
    colours, low, high = colour_scale(values if scale_of is None else scale_of, neutral)
    extent = (-0.5, values.shape[1] - 0.5, len(values) - 0.5, -0.5)
    image = axis.imshow(
        np.ma.masked_invalid(shown), cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest",
        extent=extent,
    )  # fmt: skip
    axis.tick_params(labelsize=8, length=2)
    axis.spines[:].set_visible(False)
    _name(axis.yaxis, rows, 40)
    _name(axis.xaxis, columns, 40)
    if max(map(len, columns), default=0) > 3:
        for label in axis.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    if bar:
        _draw_bar(axis, image, neutral)
    if written and values.size <= WRITTEN_CELLS:
        _write(axis, values, image)


def averaged_columns(values: NDArray[Any], most: int = MAX_COLUMNS) -> NDArray[Any]:
    """At most ``most`` columns: means of neighbours, NaN left out."""
    count = values.shape[1]
    if count <= most:
        return values
    starts = np.linspace(0, count, most, endpoint=False).astype(int)
    held = np.isfinite(values)
    sums = np.add.reduceat(np.where(held, values, 0.0), starts, axis=1)
    counts = np.add.reduceat(held, starts, axis=1, dtype=np.int64)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _draw_bar(axis: Axes, image: Any, neutral: float | None) -> None:
    width = axis.get_position().width * figure_inches(axis)[0]
    figure = axis.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(image, cax=axis.inset_axes((1 + 0.08 / width, 0, _BAR_INCHES / width, 1)))
    bar.ax.tick_params(labelsize=7, length=2)
    bar.ax.locator_params(axis="y", nbins=5)
    low, high = image.get_clim()
    if neutral is not None and low < neutral < high:
        bar.ax.axhline(neutral, color="black", lw=1)


def _name(axis: Any, names: Sequence[str], most: int) -> None:
    if len(names):
        step = -(-len(names) // most)
        axis.set_ticks(range(0, len(names), step), [names[at] for at in range(0, len(names), step)])


def _write(axis: Axes, values: NDArray[Any], image: Any) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.to_rgba(value)
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            colour = "white" if dark else "black"
            axis.text(column, row, number(value), ha="center", va="center", fontsize=7, color=colour)
