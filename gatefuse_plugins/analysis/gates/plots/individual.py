"""The gates of one sample."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.individual import SampleGate, SampleGates
from gatefuse_plugins.analysis.gates.plots.heat_maps import heat_map
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import (
    beside,
    layer_colours,
    literal,
    neutral_line,
    number,
    plain_axis,
    say_empty,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POSITIONS = {"headwise": "head", "global": "whole sample"}


@literal
def sample_figure(one: SampleGates) -> Figure:
    """For each kind: every layer's course with the band of its channels, and all channels as colours.

    Raises:
        ImportError: matplotlib is not installed.
    """
    by_kind: dict[str, list[SampleGate]] = {}
    for gate in one.gates:
        by_kind.setdefault(gate.gate.kind, []).append(gate)
    sheet = Sheet(12.5, [2.3] * max(len(by_kind), 1), *_head(one))
    if not by_kind:
        say_empty(sheet.row(1)[0], "no gates")
    barred: set[float] = set()  # neutral values whose scale has its colour bar
    for kind, gates in by_kind.items():
        wide = any(gate.values.ndim == 2 and gate.values.shape[1] > 1 for gate in gates)
        curves, *channels = sheet.row((1, 1) if wide else (1,), gap=3.0, right=0.7 if wide else 3.2)
        _draw_curves(curves, kind, gates)
        if wide:
            plain_axis(channels[0], "all channels, sorted by their mean", "position")
            neutral = gates[0].gate.neutral
            scale = np.concatenate([gate.values.ravel() for gate in one.gates if gate.gate.neutral == neutral])
            held = [gate for gate in gates if gate.values.size]
            _draw_channels(channels[0], held, scale.astype(np.float32), neutral not in barred)
            barred.add(neutral)
    return sheet.figure


def _head(one: SampleGates) -> tuple[str, str]:
    sample = one.sample
    parts = [f"video or image {sample.vid}"] if sample.vid is not None and str(sample.vid) != str(sample.id) else []
    parts += [f"{name} {number(value)}" for name, value in sample.outcomes.items()]
    lines = [textwrap.fill(sample.query, 120)] if sample.query else []
    return f"Gates of sample {sample.id}", "\n".join([*lines, " · ".join(parts)] if parts else lines)


def _draw_curves(axis: Axes, kind: str, gates: list[SampleGate]) -> None:
    held = [gate for gate in gates if np.isfinite(gate.curve).any()]
    position = _POSITIONS.get(held[0].granularity, "position") if held else ""
    plain_axis(axis, f"{kind}: mean over channels, and 10th to 90th percentile of them", position, "gate value")
    if not held:
        say_empty(axis)
        return
    longest = max(len(gate.curve) for gate in held)
    for gate, colour in zip(held, layer_colours(len(held)), strict=True):
        values = gate.curve if len(gate.curve) > 1 else np.repeat(gate.curve, 2)
        places = np.arange(len(gate.curve)) if len(gate.curve) > 1 else np.array([0, longest - 1 or 1])
        separate = gate.granularity == "headwise"
        line = "o" if separate else "-"
        axis.plot(places, values, line, color=colour, lw=1.5, ms=5, label=f"{gate.label}: {_figures(gate)}")
        if len(gate.band) == len(places) and not np.array_equal(gate.band[:, 0], gate.band[:, 1], equal_nan=True):
            axis.fill_between(places, gate.band[:, 0], gate.band[:, 1], color=colour, alpha=0.15, lw=0)
    if longest == 1:
        axis.set_xticks([])
    neutral_line(axis, gates[0].gate.neutral)
    beside(axis)


def _figures(gate: SampleGate) -> str:
    figures = gate.statistics
    mean, std = (np.nan if figures[name] is None else figures[name] for name in ("mean", "std"))
    return f"{number(mean)} ± {number(std)}"


def _draw_channels(axis: Axes, gates: list[SampleGate], scale: NDArray[np.float32], bar: bool) -> None:
    """Channels downwards and positions to the right, layer below layer; kinds of one neutral value share ``scale``."""
    longest = max(len(gate.values) for gate in gates)
    blocks = []
    for gate in gates:
        channels = gate.values.reshape(len(gate.values), -1).astype(np.float32).T
        held = np.isfinite(channels)
        means = np.where(held, channels, 0).sum(axis=1) / np.maximum(held.sum(axis=1), 1)
        blocks.append(np.full((len(channels), longest), np.nan, np.float32))
        blocks[-1][:, : channels.shape[1]] = channels[np.argsort(-means, kind="stable")]
    if not any(np.isfinite(block).any() for block in blocks):
        say_empty(axis)
        return
    heat_map(axis, np.concatenate(blocks), gates[0].gate.neutral, scale_of=scale, bar=bar)
    ends = np.cumsum([len(block) for block in blocks])
    names = ["" if gate.gate.layer is None else f"layer {gate.gate.layer}" for gate in gates]
    axis.set_yticks([end - len(block) / 2 - 0.5 for end, block in zip(ends, blocks, strict=True)], names)
    axis.hlines(ends[:-1] - 0.5, -0.5, longest - 0.5, color="black", lw=0.8)
