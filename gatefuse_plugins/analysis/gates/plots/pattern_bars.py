"""Samples and layers by their mean gate, as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gatefuse_plugins.analysis.gates.patterns import ActivationPatterns
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import (
    beside,
    kind_colours,
    literal,
    neutral_line,
    number,
    plain_axis,
    say_empty,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST = 22
"""Characters of a name under an axis."""


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


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
