"""What all pictures share: places of panels, palette, and what stands where there is nothing to draw."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.files import atomic_writer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Arguments = ParamSpec("Arguments")

DPI = 100
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
NEUTRAL_COLOUR, ABSENT_COLOUR = "0.35", "0.88"
NO_VALUES = "no values"
LAYER_STYLES = ("-", "--", ":", "-.")

# Okabe and Ito's palette, which people with any colour vision can tell apart
GROUP_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#8C8C8C")
_KINDS = ("attention", "ffn", "query", "image", "shift", "delta")


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches, without pyplot: no global state, and Agg whatever the display.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI)


def literal(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Make ``draw`` show text as it is: in captions and ids a dollar sign starts no formula."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        from matplotlib import rc_context

        with rc_context({"text.parse_math": False}):
            return draw(*args, **kwargs)

    return drawn


def write_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a PNG atomically."""
    with atomic_writer(path) as stream:
        figure.savefig(stream, format="png", dpi=DPI, pil_kwargs={"compress_level": 2})


def figure_inches(axis: Axes) -> NDArray[np.float64]:
    """Width and height of the figure that ``axis`` stands in."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    return np.asarray(figure.get_size_inches())


def plain_axis(axis: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Names, few ticks, and no box around the data.

    Names have fixed places, which spares matplotlib the measuring of all tick labels, a quarter of its time.
    """
    width, height = axis.get_position().size * figure_inches(axis)
    axis.set_title(title, loc="left", fontsize=10, y=1.0)
    axis.set_xlabel(xlabel, fontsize=9)
    axis.set_ylabel(ylabel, fontsize=9)
    axis.xaxis.set_label_coords(0.5, -0.3 / height)
    axis.yaxis.set_label_coords(-0.53 / width, 0.5)
    axis.tick_params(labelsize=8)
    axis.locator_params(nbins=6)
    axis.spines[["top", "right"]].set_visible(False)


def say_empty(axis: Axes, text: str = NO_VALUES) -> None:
    """An axis without data says so."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="0.4", fontsize=10)
    axis.set_xticks([])
    axis.set_yticks([])


def neutral_line(axis: Axes, neutral: float, across: bool = True, named: bool = True) -> None:
    """A dotted line at the neutral value; ``across`` draws it horizontally."""
    draw = axis.axhline if across else axis.axvline
    draw(neutral, color=NEUTRAL_COLOUR, lw=1.1, ls=":", label=f"neutral {number(neutral)}" if named else "", zorder=1)


def beside(axis: Axes, **options: Any) -> None:
    """A legend to the right of the axes, if anything has a name."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False, fontsize=8, **options)


def kind_colours(kinds: Sequence[str]) -> dict[str, str]:
    """A colour for each kind, the same in every picture; unknown kinds take those that are left."""
    unknown = [kind for kind in dict.fromkeys(kinds) if kind not in _KINDS]
    return {kind: GROUP_COLOURS[[*_KINDS, *unknown].index(kind) % len(GROUP_COLOURS)] for kind in kinds}


def layer_colours(count: int) -> list[Any]:
    """Colours from dark to light in the order of layers."""
    from matplotlib import colormaps

    return [colormaps[SEQUENTIAL](at) for at in np.linspace(0.0, 0.88, max(count, 1))]


def colour_scale(values: NDArray[Any], neutral: float | None) -> tuple[Colormap, float, float]:
    """Colours, lowest and highest value for finite ``values``: diverging around ``neutral`` where it lies among them.

    Constant values get a range of their own, so that rounding noise shows no pattern. NaN is drawn grey.
    """
    from matplotlib import colormaps

    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if high - low < 1e-4 * max(1.0, abs(low), abs(high)):
        middle, margin = (low + high) / 2, 0.01 * max(1.0, abs(low))
        low, high = middle - margin, middle + margin
    elif neutral is not None and low < neutral < high:
        reach = max(neutral - low, high - neutral)
        return colormaps[DIVERGING].with_extremes(bad=ABSENT_COLOUR), neutral - reach, neutral + reach
    return colormaps[SEQUENTIAL].with_extremes(bad=ABSENT_COLOUR), low, high


def number(value: float) -> str:
    """Three significant digits; ``n/a`` for NaN."""
    return f"{value:.3g}" if np.isfinite(value) else "n/a"
