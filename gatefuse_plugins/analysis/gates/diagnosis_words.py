"""The first paragraph of a report: verdict and figures in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.intervention_table import InterventionTable
from gatefuse_plugins.analysis.gates.summary import GateSummary

HEADLINES = {
    "healthy": "The gates are healthy: their input moves {all}.",
    "collapsed": "The gates have collapsed: no input moves {any}, the same value comes out whatever goes in.",
    "saturated": "The gates are saturated: {all} at the ends of the range, where next to nothing is learned.",
    "mixed": "The gates are healthy in part: {ill} of {judged} have a fault.",
    "no gates": "The model has no gates, so there is nothing to judge.",
    "no data": "No verdict on the gates is possible: {why}.",
    "broken": "The gates are broken: NaN or infinite values came out, so that no other figure can be trusted.",
}
CAUSES = {
    "saturation": "saturated",
    "collapse": "collapsed beside neutral or 0",
    "constant": "the same for every input",
    "closing": "nearly closed",
    "dominance": "too strong",
    "one_sided": "one-sided",
    "non_finite": "NaN or infinite",
}
MEANING = {
    "collapsed": "A model with fixed numbers in their place would do the same.",
    "saturated": "They switch instead of grading, and a wrong switch is hard to unlearn.",
}
SHOWN = 4
OfGate = Callable[[GateSummary, int], float]


@dataclass(frozen=True)
class KindFigures:
    """Gates of one kind together.

    Attributes:
        kind, gates: name and number.
        mean: of all values; NaN where there is none.
        neutral: of the gates; NaN where they differ.
        response: root mean square over gates of their standard deviation between and along samples; NaN: unknown.
        at_ends: fraction of values at the ends of the range; NaN: unknown.
        open_range: a gate has no ends; its outermost bins stand for them.
    """

    kind: str
    gates: int
    mean: float
    neutral: float
    response: float
    at_ends: float
    open_range: bool


def figures_of_kind(summary: GateSummary, kind: str, response: OfGate, at_ends: OfGate) -> KindFigures:
    """Figures of the gates of ``kind``; ``response`` and ``at_ends`` give those of one gate."""
    places = [at for at in summary.of_kind(kind) if summary.total_count[at]]
    count = summary.total_count[places].astype(np.float64)
    neutral = {summary.gates[at].neutral for at in places}
    follows, ends = (np.array([of_gate(summary, at) for at in places]) for of_gate in (response, at_ends))
    return KindFigures(
        kind,
        len(summary.of_kind(kind)),
        _average(summary.total_mean[places], count),
        neutral.pop() if len(neutral) == 1 else math.nan,
        math.sqrt(_average(np.square(follows), np.ones(len(places)))),
        _average(ends, count),
        any(summary.gates[at].low is None or summary.gates[at].high is None for at in places),
    )


def _average(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    known = np.isfinite(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else math.nan


def first_paragraph(
    verdict: str,
    kinds: Sequence[KindFigures],
    faults: Sequence[tuple[str, str]],
    cautions: Sequence[tuple[str, str]],
    samples: int,
    judged: int,
    interventions: InterventionTable | None,
) -> str:
    """Verdict, figures of each kind, faults, and what interventions showed.

    Args:
        faults, cautions: label of a gate and cause, a pair for each finding.
        judged: gates that could be judged.
    """
    words = {
        "all": {1: "the only one", 2: "both of them"}.get(judged, f"all {judged} of them"),
        "any": {1: "the only one", 2: "either of the two"}.get(judged, f"any of the {judged}"),
        "ill": len({label for label, _ in faults}),
        "judged": judged,
        "why": "one value a gate cannot show whether it follows its input" if samples else "no sample has a value",
    }
    sentences = [HEADLINES[verdict].format(**words)]
    if verdict in ("no gates", "no data"):
        return sentences[0]
    sentences += [MEANING[verdict]] if verdict in MEANING else []
    known = [_of_kind(kind) for kind in kinds if not math.isnan(kind.mean)]
    if known:
        sentences.append(f"Over {samples:,} sample{'' if samples == 1 else 's'}: {'; '.join(known)}.")
    if verdict in ("mixed", "broken"):
        sentences.append(f"Faults: {_listed(faults)}.")
    if cautions:
        sentences.append(f"Caution: {_listed(cautions)}.")
    if faults or cautions:
        sentences.append("The findings below have figures and remedies.")
    return " ".join(sentences + _worth(interventions))


def _listed(found: Sequence[tuple[str, str]]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(f"{label} ({CAUSES[cause]})" for label, cause in found[:SHOWN]) + more


def _of_kind(kind: KindFigures) -> str:
    count = "1 gate" if kind.gates == 1 else f"{kind.gates} gates"
    text = f"{kind.kind} ({count}) has mean {kind.mean:.3g}"
    text += "" if math.isnan(kind.neutral) else f" (neutral {kind.neutral:g})"
    if not math.isnan(kind.response):
        text += f", varies by {kind.response:.2g} with its input"
    where = "in the outermost bins" if kind.open_range else "at the ends"
    return text + ("" if math.isnan(kind.at_ends) else f", {kind.at_ends:.0%} of its values {where}")


def _worth(interventions: InterventionTable | None) -> list[str]:
    """What neutral gates and frozen gates cost, where it was measured."""
    if interventions is None:
        return []
    rows = [interventions.row(name) for name in ("neutral", "mean")]
    held = [row for row in rows if row is not None and row.applicable]
    sentences = [row.sentence for row in held]
    if len(held) == 2 and not any(row.shown for row in held):
        sentences.append("So nothing shows yet that the model needs its gates.")
    return sentences
