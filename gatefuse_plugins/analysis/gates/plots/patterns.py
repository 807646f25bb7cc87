"""Which samples open which gates, as heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.patterns import ActivationPatterns, KindPattern
from gatefuse_plugins.analysis.gates.plots.heat_maps import MAX_COLUMNS, averaged_columns, heat_map
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
    from matplotlib.figure import Figure


@literal
def activation_figure(patterns: ActivationPatterns) -> Figure:
    """For each kind: mean of every sample (downwards) in every layer, and the mean course over relative time.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = patterns.kinds
    sheet = Sheet(max(10.5, 5.0 * len(kinds)), (4.2, 2.0), "Activation patterns", _samples(patterns))
    heats, courses = (sheet.row(max(len(kinds), 1), gap=1.9, right=1.2) for _ in range(2))
    if not kinds:
        say_empty(heats[0], "no gates")
        say_empty(courses[0], "no gates")
    for heat, course, kind in zip(heats, courses, kinds, strict=False):
        plain_axis(heat, f"{kind.kind}: mean of each sample", "", "sample, in the order of recording")
        order = _tall(kind.means)
        heat_map(heat, order, kind.neutral, columns=kind.labels, scale_of=_shared(kinds, kind))
        if len(kind.means) > len(order):
            heat.set_yticks([])
        plain_axis(course, f"{kind.kind}: course over relative time", "relative time", "gate value")
        times = (np.arange(kind.time_profile.shape[1]) + 0.5) / max(kind.time_profile.shape[1], 1)
        held = [at for at, line in enumerate(kind.time_profile) if np.isfinite(line).any()]
        if not held:
            say_empty(course, "no course over time")
            continue
        for at, colour in zip(held, layer_colours(len(held)), strict=True):
            course.plot(times, kind.time_profile[at], color=colour, lw=1.4, label=kind.labels[at])
        neutral_line(course, kind.neutral)
        beside(course)
    return sheet.figure


@literal
def sections_figure(patterns: ActivationPatterns) -> Figure:
    """Heat maps of each kind, layers against samples; kinds with the same neutral value share a scale.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = patterns.kinds
    heights = [max(0.8, 0.3 * len(kind.gates)) for kind in kinds] or [1.0]
    sheet = Sheet(11, heights, "Mean gate by layer and sample", _samples(patterns))
    if not kinds:
        say_empty(sheet.row(1)[0], "no gates")
    for kind in kinds:
        (axis,) = sheet.row(1, left=1.6, right=0.8)
        plain_axis(axis, f"{kind.kind} (neutral {number(kind.neutral)})", "sample, in the order of recording")
        heat_map(axis, kind.means.T, kind.neutral, rows=kind.labels, scale_of=_shared(kinds, kind))
    return sheet.figure


@literal
def samples_figure(patterns: ActivationPatterns) -> Figure:
    """Mean over layers of each sample, a row for each kind.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = patterns.kinds
    sheet = Sheet(11, [0.55] * max(len(kinds), 1), "Mean over layers of each sample", _samples(patterns), below=0.3)
    if not kinds:
        say_empty(sheet.row(1)[0], "no gates")
    everything = {
        kind.neutral: np.concatenate([k.sample_means for k in kinds if k.neutral == kind.neutral]) for kind in kinds
    }
    for kind in kinds:
        (axis,) = sheet.row(1, left=1.2, right=0.8)
        plain_axis(axis, "", "sample, in the order of recording" if kind is kinds[-1] else "")
        values = kind.sample_means[None]
        heat_map(axis, values, kind.neutral, rows=[kind.kind], scale_of=everything[kind.neutral])
    return sheet.figure


def _samples(patterns: ActivationPatterns) -> str:
    count = len(patterns.sample_ids)
    note = f"{count:,} samples; grey: no value"
    return (
        note
        if count <= MAX_COLUMNS
        else f"{note}; heat maps show means of {-(-count // MAX_COLUMNS)} or fewer neighbours"
    )


def _tall(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return averaged_columns(values.T).T


def _shared(kinds: tuple[KindPattern, ...], kind: KindPattern) -> NDArray[np.float64]:
    return np.concatenate([other.means.ravel() for other in kinds if other.neutral == kind.neutral])
