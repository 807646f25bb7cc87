"""Which gates move together, and which go with how well the model does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gatefuse_plugins.analysis.gates.correlations import Correlation, GateCorrelations
from gatefuse_plugins.analysis.gates.plots.heat_maps import heat_map
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import literal, plain_axis, say_empty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGNIFICANT = 0.05
MAX_PAIRS = 6
"""Pairs of kinds that are put in words."""
_WHOLE = np.array([-1.0, 1.0])


@literal
def correlations_figure(found: GateCorrelations) -> Figure:
    """Rank correlations between gates, and of gates with outcomes; starred where q is below 0.05.

    Raises:
        ImportError: matplotlib is not installed.
    """
    outcomes = list(dict.fromkeys(one.second for one in found.with_outcomes))
    rows = list(dict.fromkeys(one.first for one in found.with_outcomes))
    height = float(np.clip(0.34 * max(len(found.labels), len(rows)), 2.4, 9.0))
    widths = (1.0, float(np.clip(len(outcomes) / max(len(found.labels), 1), 0.45, 1.5)))
    title = "Rank correlations between samples' mean gates (Spearman)"
    sheet = Sheet(14, (height,), title, _between(found.between_kinds), below=1.3)
    gates, with_outcomes = sheet.row(widths, left=1.7, gap=2.6, right=0.8)
    plain_axis(gates, "gate with gate")
    if found.labels:
        heat_map(gates, found.matrix, 0.0, found.labels, found.labels, scale_of=_WHOLE, written=len(found.labels) <= 10)
    else:
        say_empty(gates, "no gates")
    plain_axis(with_outcomes, f"gate with outcome (* q < {SIGNIFICANT})")
    table = np.full((len(rows), len(outcomes)), np.nan)
    for one in found.with_outcomes:
        table[rows.index(one.first), outcomes.index(one.second)] = one.rho
    if not table.size:
        say_empty(with_outcomes, "no outcomes known")
        return sheet.figure
    heat_map(with_outcomes, table, 0.0, rows, outcomes, scale_of=_WHOLE)
    if table.size <= 150:
        for one in found.with_outcomes:
            if np.isfinite(one.rho):
                place = outcomes.index(one.second), rows.index(one.first)
                text = f"{one.rho:.2f}{'*' if one.q < SIGNIFICANT else ''}"
                colour = "white" if abs(one.rho) > 0.6 else "black"
                with_outcomes.text(*place, text, ha="center", va="center", fontsize=7, color=colour)
    return sheet.figure


def _between(kinds: tuple[Correlation, ...]) -> str:
    """Kinds pairwise, in words, the strongest first."""
    strongest = sorted(kinds, key=lambda one: -np.nan_to_num(abs(one.rho), nan=-1.0))
    lines = []
    for one in strongest[:MAX_PAIRS]:
        known = (
            f"rho {one.rho:.2f} (p = {one.p:.2g}, n = {one.n:,})"
            if np.isfinite(one.rho)
            else f"not defined, n = {one.n:,}"
        )
        lines.append(f"{one.first} with {one.second}: {known}")
    more = len(kinds) - len(lines)
    return "\n".join([*lines, f"and {more} more pairs"] if more > 0 else lines)
