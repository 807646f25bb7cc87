"""Which samples open which gates: heat maps, extreme samples, and means by layer and by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.patterns import ActivationPatterns, KindPattern
from gatefuse_plugins.analysis.gates.plots.heat_maps import MAX_COLUMNS, heat_map
from gatefuse_plugins.analysis.gates.plots.style import (
    Sheet,
    beside,
    kind_colours,
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


@literal
def extremes_figure(patterns: ActivationPatterns) -> Figure:
    """The samples with the largest and the smallest mean over all gates.

    Raises:
        ImportError: matplotlib is not installed.
    """
    sheet = Sheet(11, (2.0, 2.0), "Samples by mean gate", _count(patterns), below=0.8)
    for name, places in (("largest", patterns.top), ("smallest", patterns.bottom)):
        (axis,) = sheet.row(1)
        plain_axis(axis, f"{len(places)} {name}", "", "mean gate")
        if not places:
            say_empty(axis)
            continue
        values = patterns.sample_means[list(places)]
        bars = axis.bar(range(len(places)), values, color="#0072B2", width=0.7)
        axis.bar_label(bars, [number(value) for value in values], fontsize=7, padding=2)
        names = [_short(str(patterns.sample_ids[at])) for at in places]
        axis.set_xticks(range(len(places)), names, rotation=30, ha="right", fontsize=8)
        axis.margins(y=0.15)
        for neutral in sorted({kind.neutral for kind in patterns.kinds}):
            neutral_line(axis, neutral, named=False)
    return sheet.figure


@literal
def layer_means_figure(patterns: ActivationPatterns) -> Figure:
    """Mean over samples by layer, with one standard deviation between samples; bars of each kind side by side.

    Raises:
        ImportError: matplotlib is not installed.
    """
    kinds = patterns.kinds
    names = list(dict.fromkeys(label for kind in kinds for label in kind.labels))
    sheet = Sheet(float(np.clip(1.3 * len(names), 8, 20)), (3.0,), "Mean gate by layer", _count(patterns), below=0.6)
    (axis,) = sheet.row(1, right=1.5)
    plain_axis(axis, "whiskers: one standard deviation between samples", "", "mean gate")
    if not any(np.isfinite(kind.layer_means).any() for kind in kinds):
        say_empty(axis)
        return sheet.figure
    width = 0.8 / len(kinds)
    for at, (kind, colour) in enumerate(zip(kinds, kind_colours([k.kind for k in kinds]).values(), strict=True)):
        places = np.array([names.index(label) for label in kind.labels]) + (at - (len(kinds) - 1) / 2) * width
        bars = axis.bar(places, kind.layer_means - kind.neutral, width, kind.neutral, color=colour, label=kind.kind)
        axis.errorbar(places, kind.layer_means, kind.layer_stds, fmt="none", ecolor="0.25", elinewidth=1, capsize=2)
        for bar, value, spread in zip(bars, kind.layer_means, kind.layer_stds, strict=True):
            if np.isfinite(value):
                up = value >= kind.neutral
                place = (bar.get_x() + width / 2, value + (spread if up else -spread))
                axis.annotate(
                    number(value), place, (0, 3 if up else -3), textcoords="offset points", ha="center",
                    va="bottom" if up else "top", fontsize=7,
                )  # fmt: skip
    for neutral in sorted({kind.neutral for kind in kinds}):
        neutral_line(axis, neutral)
    axis.set_xticks(
        range(len(names)), [_short(name) for name in names], fontsize=8, rotation=0 if len(names) < 13 else 45
    )
    axis.margins(y=0.12)
    beside(axis)
    return sheet.figure


def _count(patterns: ActivationPatterns) -> str:
    return f"{len(patterns.sample_ids):,} samples · dotted: neutral value"


def _samples(patterns: ActivationPatterns) -> str:
    count = len(patterns.sample_ids)
    note = f"{count:,} samples; grey: no value"
    return (
        note
        if count <= MAX_COLUMNS
        else f"{note}; heat maps show means of {-(-count // MAX_COLUMNS)} or fewer neighbours"
    )


def _tall(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from gatefuse_plugins.analysis.gates.plots.heat_maps import averaged_columns

    return averaged_columns(values.T).T


def _shared(kinds: tuple[KindPattern, ...], kind: KindPattern) -> NDArray[np.float64]:
    return np.concatenate([other.means.ravel() for other in kinds if other.neutral == kind.neutral])


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
