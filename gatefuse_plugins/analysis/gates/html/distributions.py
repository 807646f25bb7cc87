"""How gate values are distributed by kind and layer, and how they change along a sample."""

from __future__ import annotations

import numpy as np

from gatefuse_plugins.analysis.gates.distributions import GateDistribution
from gatefuse_plugins.analysis.gates.html.blocks import Block, Section, beside, paragraph, table
from gatefuse_plugins.analysis.gates.html.rounding import rounded, rounded_list
from gatefuse_plugins.analysis.gates.patterns import KindPattern
from gatefuse_plugins.analysis.gates.report import GateReport


def distributions(report: GateReport) -> Section | None:
    """Percentiles, histograms and course over time of each kind, and all figures as a table."""
    if not report.summary.gates:
        return None
    found = {one.gate.name: one for one in report.distributions.gates}
    by_kind = [(kind, [found[gate.name] for gate in kind.gates]) for kind in report.patterns.kinds]
    blocks = [beside([_strips(kind, gates) for kind, gates in by_kind])]
    blocks += [_histograms(kind, gates) for kind, gates in by_kind]
    courses = [_course(kind) for kind in report.patterns.kinds if np.isfinite(kind.time_profile).any()]
    if courses:
        blocks += [paragraph("Mean over samples at relative time; every sample has the same weight."), beside(courses)]
    return {"id": "distributions", "title": "Distributions", "blocks": [*blocks, _figures(report)]}


def _strips(kind: KindPattern, gates: list[GateDistribution]) -> Block:
    rows = [
        {
            "label": label,
            "mark": mark,
            "percentiles": rounded_list(gate.percentiles),
            "note": f"{label}: mean {rounded(gate.mean)}, std {rounded(gate.std)}, {gate.count:,} values",
        }
        for mark, (label, gate) in enumerate(zip(kind.labels, gates, strict=True))
    ]
    return {"type": "strips", "title": kind.kind, "neutral": rounded(kind.neutral), "rows": rows}


def _histograms(kind: KindPattern, gates: list[GateDistribution]) -> Block:
    charts = []
    for mark, (label, gate) in enumerate(zip(kind.labels, gates, strict=True)):
        saturated = gate.saturated_low + gate.saturated_high
        note = f"mean {rounded(gate.mean)}, std {rounded(gate.std)}" if gate.count else "no values"
        note += f", {saturated:.0%} saturated" if gate.count and saturated >= 0.005 else ""
        edges = rounded_list([gate.edges[0], gate.edges[-1]])
        shares = rounded_list(gate.shares) if gate.count else []
        charts.append({"label": label, "mark": mark, "note": note, "edges": edges, "shares": shares})
    return {
        "type": "histograms",
        "title": f"Values of {kind.kind} gates",
        "low": rounded(min(gate.edges[0] for gate in gates)),
        "high": rounded(max(gate.edges[-1] for gate in gates)),
        "neutral": rounded(kind.neutral),
        "charts": charts,
    }


def _course(kind: KindPattern) -> Block:
    series = [
        {"label": label, "mark": mark, "values": rounded_list(profile)}
        for mark, (label, profile) in enumerate(zip(kind.labels, kind.time_profile, strict=True))
        if np.isfinite(profile).any()
    ]
    bins = kind.time_profile.shape[1]
    times = rounded_list((np.arange(bins) + 0.5) / bins)
    return {
        "type": "lines",
        "title": f"{kind.kind} over time",
        "x": {"label": "relative time", "values": times, "low": 0, "high": 1},
        "y": "mean gate",
        "neutral": rounded(kind.neutral),
        "series": series,
    }


def _figures(report: GateReport) -> Block:
    overall = report.overall
    columns = ["Gate", "Values", "Mean", "Std", "Min", "5 %", "Median", "95 %", "Max", "Saturated %"]
    rows = []
    for at, gate in enumerate(report.distributions.gates):
        tap, saturated = overall.by_gate[at], 100 * (gate.saturated_low + gate.saturated_high)
        figures = [gate.mean, gate.std, tap.minimum, *gate.percentiles[[0, 2, 4]], tap.maximum, saturated]
        spread = [overall.between_samples[at], overall.within_samples[at]]
        rows.append([gate.label, gate.count, *map(rounded, [*figures, *spread])])
    caption = (
        "Between samples: standard deviation of the sample means. Within: mean over samples of the standard deviation"
        " along a sample. Saturated: within 2 % of the range from either end."
    )
    return table(caption, [*columns, "Between samples", "Within"], rows)
