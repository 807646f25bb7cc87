"""Pictures of composed-retrieval queries: gates over the reference image, beside what was retrieved."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from gatefuse_plugins.analysis.gates.gate_map import GateMap, Retrieval, TokenMap
from gatefuse_plugins.analysis.gates.pictures import Picture
from gatefuse_plugins.analysis.gates.plots.style import (
    NO_VALUES,
    colour_scale,
    literal,
    new_figure,
    number,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TARGET_COLOUR = "#009E73"
WRITTEN_PLACES = 36
"""A grid of at most so many places has its values written in."""
_CELL, _GAP, _LEFT, _ABOVE, _BELOW = 1.75, 0.35, 0.15, 0.3, 0.42  # inches
_VEIL = 0.62  # opacity of the colours over the picture


def draw_gate_maps(gate_maps: Iterable[GateMap], folder: str | os.PathLike[str]) -> list[Path]:
    """Draw each into ``folder/{id}.png``, written atomically; returns the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    paths = []
    for one in gate_maps:
        paths.append(Path(folder, f"{quote(str(one.id), safe='')}.png"))
        write_figure(gate_map_figure(one), paths[-1])
    return paths


@literal
def gate_map_figure(one: GateMap) -> Figure:
    """Reference, signals over it, and retrieved images with the target marked."""
    return gate_maps_figure([one])


@literal
def gate_maps_figure(gate_maps: Sequence[GateMap], title: str = "") -> Figure:
    """Several queries below each other; see :func:`gate_map_figure`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    columns = max([4, *(1 + max(len(_overlays(one)), len(one.retrievals) - 1) for one in gate_maps)])
    width = 2 * _LEFT + columns * (_CELL + _GAP)
    headers = [_header(one, int(width * 11)) for one in gate_maps]
    blocks = [
        0.2 * (text.count("\n") + 1) + 0.2 + (2 if one.retrievals else 1) * (_ABOVE + _CELL + _BELOW)
        for text, one in zip(headers, gate_maps, strict=True)
    ]
    figure = new_figure(width, max(sum(blocks) + (0.45 if title else 0.1), 1.0))
    if title or not gate_maps:
        place = _LEFT / width, 1 - 0.1 / figure.get_size_inches()[1]
        figure.text(*place, title or "no gate maps", fontsize=12.5, va="top")
    top = figure.get_size_inches()[1] - (0.45 if title else 0.1)
    for text, height, one in zip(headers, blocks, gate_maps, strict=True):
        _draw_query(figure, one, text, top)
        top -= height
    return figure


def _header(one: GateMap, width: int) -> str:
    place = "" if one.rank is None else f" · target at rank {one.rank} of {one.competitors}"
    lines = [f"“{one.caption}”", f"query {one.id} · reference {one.reference}{place}"]
    for signal in one.maps:
        if signal.whole:
            lines.append(f"{_name(signal)}: {number(signal.values.item())}, the same for the whole image")
    return "\n".join(part for line in lines for part in textwrap.wrap(line, width) or [""])


def _draw_query(figure: Figure, one: GateMap, text: str, top: float) -> None:
    """One query, downwards from ``top`` inches."""
    width, height = figure.get_size_inches()
    figure.text(_LEFT / width, (top - 0.05) / height, text, va="top", fontsize=9, linespacing=1.35)
    base = top - 0.2 * (text.count("\n") + 1) - 0.1 - _ABOVE - _CELL

    def cell(column: int, bottom: float) -> Axes:
        left = _LEFT + column * (_CELL + _GAP)
        return figure.add_axes((left / width, bottom / height, _CELL / width, _CELL / height))

    _show(cell(0, base), one.picture, "reference")
    for column, signal in enumerate(_overlays(one), start=1):
        axis = cell(column, base)
        image = _show_signal(axis, signal, one.picture)
        left = _LEFT + column * (_CELL + _GAP)
        bar = figure.add_axes((left / width, (base - 0.13) / height, _CELL / width, 0.08 / height))
        figure.colorbar(image, cax=bar, orientation="horizontal").ax.tick_params(labelsize=7, pad=1, length=2)
        bar.locator_params(axis="x", nbins=4)
    for column, found in enumerate(one.retrievals):
        _show_retrieval(cell(column, base - _BELOW - _ABOVE - _CELL), found)


def _overlays(one: GateMap) -> list[TokenMap]:
    return [signal for signal in one.maps if not signal.whole]


def _name(signal: TokenMap) -> str:
    if signal.kind == "change":
        return "change, mean |fused - image|"
    return f"{signal.kind}, mean |value - neutral|" if signal.distance else f"{signal.kind}, mean over channels"


def _show(axis: Axes, picture: Picture | None, title: str, **options: Any) -> None:
    axis.set_title(title, fontsize=8, loc="left", pad=3, **options)
    axis.set_xticks([])
    axis.set_yticks([])
    if picture is None:
        axis.text(0.5, 0.5, "picture file missing", transform=axis.transAxes, ha="center", fontsize=8, color="0.4")
    else:
        axis.imshow(picture, interpolation="nearest" if max(picture.shape) < 100 else None)


def _show_signal(axis: Axes, signal: TokenMap, picture: Picture | None) -> Any:
    """The picture in grey below the signal, place by place."""
    rows, columns = signal.values.shape
    height, width = (rows, columns) if picture is None else picture.shape[:2]
    _show(
        axis,
        np.full((1, 1, 3), 255, np.uint8) if picture is None else _grey(picture),
        _name(signal) + f"\nneutral {number(signal.neutral)}",
    )
    colours, low, high = colour_scale(signal.values, None if signal.distance else signal.neutral)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    options: dict[str, Any] = {"extent": extent, "interpolation": "nearest", "aspect": "equal"}
    opacity = 1.0 if picture is None else _VEIL
    shown = np.ma.masked_invalid(signal.values)
    image = axis.imshow(shown, cmap=colours, vmin=low, vmax=high, alpha=opacity, **options)
    if not np.isfinite(signal.values).any():
        axis.text(0.5, 0.5, NO_VALUES, transform=axis.transAxes, ha="center", fontsize=8)
    elif signal.values.size <= WRITTEN_PLACES:
        decimals = int(np.clip(1 - np.floor(np.log10(high - low)), 0, 5))
        box = {"facecolor": "white", "alpha": 0.65, "edgecolor": "none", "pad": 0.8}
        for (row, column), value in np.ndenumerate(signal.values):
            x, y = (column + 0.5) * width / columns - 0.5, (row + 0.5) * height / rows - 0.5
            axis.text(x, y, f"{value:.{decimals}f}", ha="center", va="center", fontsize=7, bbox=box)
    return image


def _grey(picture: Picture) -> Picture:
    """Rec. 601 luma, in three equal channels: colours belong to the signal alone."""
    luma = (picture @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def _show_retrieval(axis: Axes, found: Retrieval) -> None:
    mark = " target" if found.is_target else ""
    colour = TARGET_COLOUR if found.is_target else "black"
    weight = "bold" if found.is_target else "normal"
    _show(axis, found.picture, f"#{found.rank}{mark}  {found.score:.3f}", color=colour, fontweight=weight)
    axis.set_xlabel(textwrap.shorten(found.name, 26, placeholder="…"), fontsize=7, color="0.35", labelpad=2)
    axis.spines[:].set(color=colour if found.is_target else "0.8", linewidth=3 if found.is_target else 0.8)
