"""How gate values are distributed: over all samples by kind, and by kind and layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gatefuse_plugins.analysis.gates.distributions import GateDistribution, LayerDistributions
from gatefuse_plugins.analysis.gates.overall import OverallStatistics
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import (
    GROUP_COLOURS,
    beside,
    kind_colours,
    literal,
    neutral_line,
    number,
    plain_axis,
    say_empty,
)
from gatefuse_plugins.recording.statistics import TapStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@literal
def overall_figure(overall: OverallStatistics) -> Figure:
    """Histogram of each kind; mean, spread and saturation by layer.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = list(overall.by_kind)
    granularity = "" if overall.gating_type == "none" else f"{overall.gating_type} gates · "
    note = f"{overall.samples:,} samples · {granularity}{overall.layers} layers · dotted: neutral value"
    if overall.non_finite:
        note += f" · {overall.non_finite:,} values that are NaN or infinite left out"
    sheet = Sheet(max(11.0, 3.4 * len(kinds)), (2.3, 2.3), "Overall gate statistics", note)
    colours = kind_colours(kinds)
    for axis, kind in zip(sheet.row(max(len(kinds), 1)), kinds or ["no gates"], strict=True):
        plain_axis(axis, kind, "gate value", "share of values")
        if not kinds or not overall.by_kind[kind].count:
            say_empty(axis)
        else:
            _kind_histogram(axis, overall.by_kind[kind], colours[kind])
    mean, spread, saturated = sheet.row(3, right=1.4)
    plain_axis(mean, "mean ± standard deviation", "layer", "gate value")
    plain_axis(spread, "spread (dashed: between samples)", "layer", "standard deviation")
    plain_axis(saturated, "near an end of the range (2 %)", "layer", "share of values, %")
    for kind in kinds:
        _by_layer((mean, spread, saturated), overall, kind, colours[kind])
    for axis in (mean, spread, saturated):
        if axis.has_data():
            axis.locator_params(axis="x", integer=True)
        else:
            say_empty(axis)
    for neutral in sorted({gate.neutral for gate in overall.gates if mean.has_data()}):
        neutral_line(mean, neutral, named=False)
    beside(saturated)
    return sheet.figure


def _kind_histogram(axis: Axes, found: TapStatistics, colour: str) -> None:
    edges = np.linspace(found.histogram_low, found.histogram_high, len(found.histogram) + 1)
    axis.stairs(found.histogram, edges, fill=True, color=colour, alpha=0.75)
    axis.axvline(found.mean, color="black", lw=1.4)
    neutral_line(axis, found.neutral, across=False)
    figures = f"mean {number(found.mean)}, median {number(found.median)}, neutral {number(found.neutral)}"
    axis.set_title(f"{axis.get_title('left')} ({figures})", loc="left", fontsize=10)


def _by_layer(axes: tuple[Axes, Axes, Axes], overall: OverallStatistics, kind: str, colour: str) -> None:
    """One kind's figures over its layers; a gate without a layer stands at its place among the gates of the kind."""
    places = [at for at, gate in enumerate(overall.gates) if gate.kind == kind and overall.by_gate[at].count]
    if not places:
        return
    own = [overall.gates[place].layer for place in places]
    layers = [at if layer is None else layer for at, layer in enumerate(own)]
    found = [overall.by_gate[place] for place in places]
    mean, spread, saturated = axes
    line: dict[str, Any] = {"color": colour, "marker": "o", "ms": 4, "lw": 1.4}
    mean.errorbar(layers, [one.mean for one in found], [one.std for one in found], capsize=3, **line)
    spread.plot(layers, [one.std for one in found], **line)
    spread.plot(layers, [overall.between_samples[place] for place in places], **(line | {"ls": "--", "marker": "s"}))
    saturated.plot(layers, [100 * one.saturated for one in found], **line, label=kind)


@literal
def distributions_figure(found: LayerDistributions) -> Figure:
    """Rows are kinds, columns layers: histogram, mean, median, neutral value.

    Raises:
        ImportError: matplotlib is not installed.
    """
    rows, columns = max(len(found.kinds), 1), max(len(found.layers), 1)
    width = float(np.clip(columns * 3.0, 7.0, 30.0))
    note = "solid: mean · dashed: median · shaded: 5th to 95th percentile · dotted: neutral value"
    sheet = Sheet(width, [1.7] * rows, "Gate values by kind and layer", note)
    if not found.gates:
        say_empty(sheet.row(1)[0], "no gates")
        return sheet.figure
    colours = kind_colours(found.kinds)
    for kind in found.kinds:
        for axis, layer in zip(sheet.row(columns, gap=0.55), found.layers, strict=True):
            title = kind if layer is None else f"{kind}, layer {layer}"
            plain_axis(axis, title, "", "share of values" if layer == found.layers[0] else "")
            held = [one for one in found.at(kind, layer) if one.count]
            if not held:
                say_empty(axis, "no such gate" if not found.at(kind, layer) else "no values")
            for at, one in enumerate(held):
                colour = colours[kind] if len(held) == 1 else GROUP_COLOURS[at % len(GROUP_COLOURS)]
                _distribution(axis, one, colour, len(held) > 1)
    return sheet.figure


def _distribution(axis: Axes, one: GateDistribution, colour: str, named: bool) -> None:
    axis.axvspan(one.percentiles[0], one.percentiles[4], color=colour, alpha=0.12, lw=0)
    axis.stairs(one.shares, one.edges, fill=True, color=colour, alpha=0.7, label=one.label if named else "")
    axis.axvline(one.mean, color="black", lw=1.3)
    axis.axvline(one.percentiles[2], color="black", lw=1.0, ls="--")
    neutral_line(axis, one.gate.neutral, across=False, named=False)
    if named:
        axis.legend(fontsize=6, frameon=False)
    else:
        axis.set_xlabel(f"mean {number(one.mean)}, std {number(one.std)}", fontsize=8)
