"""Are the gates of a model healthy, collapsed or saturated? The verdict, and the first paragraph of every report."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gatefuse_plugins.analysis.gates.data import labels
from gatefuse_plugins.analysis.gates.diagnosis_words import figures_of_kind, first_paragraph
from gatefuse_plugins.analysis.gates.intervention_table import InterventionTable
from gatefuse_plugins.analysis.gates.summary import GateSummary
from gatefuse_plugins.recording.health import GateThresholds, diagnose

VERDICTS = ("healthy", "collapsed", "saturated", "mixed", "no gates", "no data", "broken")
# Fewer values than this may lie at their own smallest and largest one by chance.
ENOUGH_TO_PILE_UP = 20
_STILL = {"collapse", "constant"}
_GRAVE = {"saturation", "non_finite", *_STILL}


@dataclass(frozen=True)
class Finding:
    """What is wrong with one gate.

    Attributes:
        gate: tap name.
        cause: one of :data:`~gatefuse_plugins.recording.health.CAUSES`, or ``constant`` (the same for every input, away
            from neutral), ``non_finite``, ``silent`` (no value ever passed).
        message: figures, threshold and remedy.
    """

    gate: str
    cause: str
    message: str


@dataclass(frozen=True)
class Diagnosis:
    """
    Attributes:
        verdict: one of ``VERDICTS``. Of the gates that can be judged, ``healthy``: each responds to its input and is
            not saturated (findings on its level are cautions); ``collapsed``, ``saturated``: each is; ``broken``: one
            gave NaN; ``no data``: there are none; else ``mixed``.
        paragraph: the same in plain words, with figures and, where known, what interventions showed.
        findings: in the model's order.
        thresholds: by which it was judged.
    """

    verdict: str
    paragraph: str
    findings: tuple[Finding, ...]
    thresholds: GateThresholds


def diagnose_summary(
    summary: GateSummary, interventions: InterventionTable | None = None, thresholds: GateThresholds | None = None
) -> Diagnosis:
    """Judge every gate of ``summary`` by ``thresholds`` (the training monitor's by default)."""
    thresholds = thresholds or GateThresholds()
    found = [_findings(summary, at, thresholds) for at in range(len(summary.gates))]
    judged = [_can_be_judged(summary, at) for at in range(len(summary.gates))]
    verdict = _verdict(found, judged)
    named = [
        (label, finding.cause)
        for label, gate in zip(labels(summary.gates), found, strict=True)
        for finding in gate
        if finding.cause != "silent"
    ]
    paragraph = first_paragraph(
        verdict,
        [figures_of_kind(summary, kind, response, at_ends) for kind in summary.kinds],
        faults=[(label, cause) for label, cause in named if cause in _GRAVE],
        cautions=[(label, cause) for label, cause in named if cause not in _GRAVE],
        samples=len(summary.samples),
        judged=sum(judged),
        interventions=interventions,
    )
    return Diagnosis(verdict, paragraph, tuple(finding for gate in found for finding in gate), thresholds)


def response(summary: GateSummary, at: int) -> float:
    """How far gate ``at`` follows its input: its standard deviation between samples and along them, channels averaged.

    A gate whose channels differ, but each of which is the same for every input, has 0. NaN where there is one value.
    """
    means, along = summary.mean[:, at], summary.time_std[:, at]
    means, along = means[np.isfinite(means)], along[np.isfinite(along)]
    parts = [float(means.std())] if means.size > 1 else []
    if summary.positions[:, at].max(initial=0) > 1 and along.size:
        parts.append(math.sqrt(float(np.square(along).mean())))
    return math.hypot(*parts) if parts else math.nan


def at_ends(summary: GateSummary, at: int, thresholds: GateThresholds | None = None) -> float:
    """Fraction of the values of gate ``at`` within 2 % of its range from either end.

    In an open range: in the first and the last of 64 bins from its smallest to its largest value; NaN where it gave too
    few values, or too similar ones, for that to mean anything.
    """
    gate = summary.statistics(at)
    if gate.low is not None and gate.high is not None:
        return gate.saturated
    spread = gate.std >= (thresholds or GateThresholds()).collapse_std
    if gate.count < ENOUGH_TO_PILE_UP or not spread:
        return math.nan
    return float(summary.histogram[at, 0] + summary.histogram[at, -1])


def _can_be_judged(summary: GateSummary, at: int) -> bool:
    return bool(summary.total_non_finite[at]) or not math.isnan(response(summary, at))


def _findings(summary: GateSummary, at: int, thresholds: GateThresholds) -> list[Finding]:
    gate, name = summary.statistics(at), summary.gates[at].name
    if strange := int(summary.total_non_finite[at]):
        share = strange / (strange + gate.count)
        text = (
            f"gate {name} gave {strange:,} values that are NaN or infinite ({share:.1%}): weights or input are broken"
        )
        return [Finding(name, "non_finite", text)]
    if not gate.count:
        return [Finding(name, "silent", f"gate {name} gave no value: the forward does not reach it, or all is masked")]
    found = diagnose(name, gate, thresholds)
    if "saturation" not in found and (piled := at_ends(summary, at, thresholds)) >= thresholds.saturation_fraction:
        found["saturation"] = (
            f"gate {name} is saturated: {piled:.0%} of its values lie in the first and the last of 64 bins between its"
            f" smallest, {gate.minimum:.3g}, and its largest, {gate.maximum:.3g} (threshold"
            f" {thresholds.saturation_fraction:.0%}). Raise the squash's temperature, lower the learning rate, or"
            " normalise the evidence"
        )
    follows = response(summary, at)
    if follows < thresholds.collapse_std and not {"collapse", "saturation"} & found.keys():
        found["constant"] = (
            f"gate {name} is the same for every input: it varies by {follows:.2g} between samples and along them"
            f" (threshold {thresholds.collapse_std:g}) around {gate.mean:.4g}, so it is a fixed weight. Raise the"
            " gate's learning rate, and check that its evidence varies between samples"
        )
    return [Finding(name, cause, message) for cause, message in found.items()]


def _verdict(found: list[list[Finding]], judged: list[bool]) -> str:
    if not found:
        return "no gates"
    causes = [{finding.cause for finding in gate} for gate, known in zip(found, judged, strict=True) if known]
    if not causes:
        return "no data"
    grave = [gate & _GRAVE for gate in causes]
    if any("non_finite" in gate for gate in grave):
        return "broken"
    if not any(grave):
        return "healthy"
    if all(gate & _STILL for gate in grave):  # first: a gate shut at 0 is at an end of its range too
        return "collapsed"
    return "saturated" if all("saturation" in gate for gate in grave) else "mixed"
