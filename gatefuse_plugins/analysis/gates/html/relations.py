"""Do gates move together, with outcomes, and do samples fall into groups?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gatefuse_plugins.analysis.gates.clusters import GateClusters
from gatefuse_plugins.analysis.gates.comparison import SampleComparison
from gatefuse_plugins.analysis.gates.correlations import Correlation
from gatefuse_plugins.analysis.gates.html.blocks import Block, Section, beside, paragraph, table
from gatefuse_plugins.analysis.gates.html.rounding import rounded, rounded_list
from gatefuse_plugins.analysis.gates.report import GateReport

MAX_POINTS = 2000
"""Points in a picture of samples; of more, every so-manieth is drawn."""

_ROWS = 60


def correlations(report: GateReport) -> Section | None:
    """Gates against gates, kinds against kinds, and both against outcomes."""
    found = report.correlations
    if not found.labels:
        return None
    matrix: Block = {
        "type": "heat",
        "title": "Gates with gates",
        "note": "Spearman's rank correlation of sample means",
        "rows": list(found.labels),
        "columns": list(found.labels) if len(found.labels) <= 4 else [str(at + 1) for at in range(len(found.labels))],
        "values": rounded_list(found.matrix),
        "low": -1,
        "high": 1,
        "centre": 0,
        "notes": [[f"{count:,} samples" for count in row] for row in found.counts.tolist()],
    }
    matrix["rows"] = [f"{at + 1}  {label}" if len(found.labels) > 4 else label for at, label in enumerate(found.labels)]
    blocks = [matrix]
    if found.between_kinds:
        blocks.append(_correlations("Kinds with kinds (means over layers)", found.between_kinds))
    section: list[Block] = [beside(blocks)]
    if found.with_outcomes:
        section.append(_correlations("Gates with outcomes, strongest first", found.with_outcomes))
    else:
        section.append(paragraph("No outcome of single samples is known, so gates cannot be compared with outcomes."))
    return {"id": "correlations", "title": "Correlations", "blocks": section}


def _correlations(caption: str, found: Sequence[Correlation]) -> Block:
    ordered = sorted(found, key=lambda one: -abs(one.rho) if math.isfinite(one.rho) else math.inf)
    if len(ordered) > _ROWS:
        caption += f" ({_ROWS} of {len(ordered)})"
    rows = [[one.first, one.second, *map(rounded, (one.rho, one.p, one.q, one.n))] for one in ordered[:_ROWS]]
    note = f"{caption}. q: p after control of the false discovery rate"
    return table(note, ["First", "Second", "Spearman's rho", "p", "q", "Samples"], rows)


def clusters(report: GateReport) -> Section | None:
    """Groups of samples, on the two first principal components, with their mean gates and outcomes."""
    found = report.clusters
    if not found.k:
        return None
    blocks = [paragraph(found.note), beside([_projection(found), _centres(report)])]
    if found.outcomes:
        rows = [[name, *rounded_list(means)] for name, means in found.outcomes.items()]
        blocks.append(table("Mean outcomes of the groups", ["Outcome", *_groups(found)], rows))
    return {"id": "clusters", "title": "Clusters", "blocks": blocks}


def _groups(found: GateClusters) -> list[str]:
    return [f"group {at + 1} ({size:,})" for at, size in enumerate(found.sizes.tolist())]


def _projection(found: GateClusters) -> Block:
    held = np.flatnonzero(found.labels >= 0)
    places = held[:: max(1, math.ceil(len(held) / MAX_POINTS))]
    drawn = "" if len(places) == len(held) else f", {len(places):,} of {len(held):,} samples drawn"
    axes = [f"component {at + 1} ({share:.0%} of variance)" for at, share in enumerate(np.nan_to_num(found.explained))]
    first, second = (rounded_list(found.projection[places, side]) for side in (0, 1))
    return {
        "type": "scatter",
        "title": "Samples by their gates",
        "note": f"principal components of sample means{drawn}",
        "x": {"label": axes[0], "values": first},
        "y": {"label": axes[1], "values": second},
        "groups": found.labels[places].tolist(),
        "ids": [str(found.sample_ids[place]) for place in places],
        "legend": _groups(found),
    }


def _centres(report: GateReport) -> Block:
    labels = [gate.label for gate in report.distributions.gates]
    rows = [[label, *rounded_list(means)] for label, means in zip(labels, report.clusters.centers.T, strict=True)]
    return table("Mean gates of the groups", ["Gate", *_groups(report.clusters)], rows)


def comparison(report: GateReport) -> Section | None:
    """The samples asked for side by side."""
    found = report.comparison
    if found is None:
        return None
    ids = [str(sample.id) for sample in found.samples]
    rows = [[label, *rounded_list(means)] for label, means in zip(found.labels, found.means.T, strict=True)]
    blocks = [_distances(found, ids), table("Mean gates", ["Gate", *ids], rows)]
    return {"id": "comparison", "title": "Samples compared", "blocks": [beside(blocks)]}


def _distances(found: SampleComparison, ids: list[str]) -> Block:
    return {
        "type": "heat",
        "title": "Distance of samples",
        "note": "root mean square over gates of the difference of means",
        "rows": ids,
        "columns": ids,
        "values": rounded_list(found.distances),
        "low": None,
        "high": None,
        "centre": None,
        "notes": None,
    }
