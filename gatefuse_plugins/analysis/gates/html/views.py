"""Single samples: gates over positions beside windows, saliency and the query."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.html.blocks import Section
from gatefuse_plugins.analysis.gates.html.rounding import rounded, rounded_list
from gatefuse_plugins.analysis.gates.individual import SampleGate, SampleGates
from gatefuse_plugins.analysis.gates.report import GateReport
from gatefuse_plugins.analysis.moment_queries import MomentQuery

MAX_VIEWS = 100
"""Single samples on a page, and so what bounds its size; pictures and figures of others lie beside it."""

_POSITIONS = 300
_WINDOWS = 5
_IMAGE_KINDS = ("image", "delta")
_COLUMNS = ("Gate", "Shape", "Mean", "Std", "Min", "Median", "Max")


def shown(report: GateReport) -> tuple[SampleGates, ...]:
    """The samples that have a view of their own."""
    return report.individuals[:MAX_VIEWS]


def views(report: GateReport) -> Section:
    """One view for each sample of :func:`shown`."""
    marks = {
        gate.name: (label, mark)
        for kind in report.patterns.kinds
        for mark, (label, gate) in enumerate(zip(kind.labels, kind.gates, strict=True))
    }
    found = [_view(one, report.queries.get(one.sample.id), marks) for one in shown(report)]
    note = f"{len(found):,} of {len(report.summary.samples):,} samples."
    if any(gate.granularity == "elementwise" for one in shown(report) for gate in one.gates):
        note += " Shaded along a curve: 10th to 90th percentile of channels."
    block = {"type": "views", "note": note, "views": found}
    return {"id": "views", "title": "Single samples", "blocks": [block]}


def _view(one: SampleGates, query: MomentQuery | None, marks: dict[str, tuple[str, int]]) -> dict[str, Any]:
    """What ``assets/views.js`` draws; times are in the view's unit."""
    held = [gate for gate in one.gates if gate.values.size]
    clips = None if query is None else len(query.saliency)
    positions = max((len(gate.curve) for gate in held if gate.granularity != "headwise"), default=1)
    clip_length = 1.0 if query is None else query.clip_length
    tokens = all(gate.gate.kind in _IMAGE_KINDS for gate in held)
    length = (positions if clips is None else clips) * clip_length
    return {
        "id": str(one.sample.id),
        "vid": one.sample.vid,
        "query": one.sample.query,
        "outcomes": [[name, rounded(value)] for name, value in one.sample.outcomes.items()],
        "unit": query.unit if query else "image token" if tokens else "position",
        "length": rounded(length),
        "steps": positions if clips is None else clips,
        "windows": None if query is None else _windows(query),
        "saliency": None if query is None else _saliency(query),
        "offTopic": [] if query is None or query.off_topic is None else _stretches(query.off_topic, clip_length),
        "panels": _panels(held, marks, clips, length),
        "figures": {"columns": list(_COLUMNS), "rows": [_figures(gate) for gate in held]},
    }


def _windows(query: MomentQuery) -> dict[str, Any] | None:
    true = None if query.true_windows is None else rounded_list(query.true_windows)
    predicted = rounded_list(query.windows[:_WINDOWS])
    return {"true": true, "predicted": predicted} if predicted or true is not None else None


def _saliency(query: MomentQuery) -> dict[str, Any]:
    annotated = query.annotated
    return {
        "predicted": rounded_list(query.saliency),
        "annotated": None if annotated is None else rounded_list(annotated),
        "annotatedLength": None if annotated is None else rounded(len(annotated) * query.clip_length),
    }


def _stretches(mask: NDArray[np.bool_], clip_length: float) -> list[Any]:
    change = np.flatnonzero(np.diff(mask.astype(int), prepend=0, append=0))
    return rounded_list(change.reshape(-1, 2) * clip_length)


def _panels(
    held: list[SampleGate], marks: dict[str, tuple[str, int]], clips: int | None, length: float
) -> list[dict[str, Any]]:
    """A panel for each kind; gates by head have one of their own, since heads are no positions."""
    panels: dict[tuple[str, str], dict[str, Any]] = {}
    for gate in held:
        axis = "head" if gate.granularity == "headwise" else "time"
        blank: dict[str, Any] = {
            "title": gate.gate.kind,
            "axis": axis,
            "neutral": rounded(gate.gate.neutral),
            "series": [],
        }
        panel = panels.setdefault((gate.gate.kind, axis), blank)
        panel["length"] = rounded(max(len(gate.curve), panel.get("length", 0)) if axis == "head" else length)
        panel["series"].append(_series(gate, *marks[gate.gate.name], None if axis == "head" else clips))
    return list(panels.values())


def _series(gate: SampleGate, label: str, mark: int, clips: int | None) -> dict[str, Any]:
    # QD-DETR's encoder has a global token in front of the clips
    last = slice(-clips if clips and len(gate.curve) > clips else None, None)
    series: dict[str, Any] = {"label": label, "mark": mark, "values": rounded_list(_thinned(gate.curve[last]))}
    series["band"] = series["distance"] = None
    if gate.granularity == "elementwise":
        series["band"] = [rounded_list(_thinned(side[last])) for side in gate.band.T]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a position without finite value stays NaN
            distance = np.nanmean(np.abs(gate.values[last].astype(np.float64) - gate.gate.neutral), axis=-1)
        series["distance"] = rounded_list(_thinned(distance))
    return series


def _thinned(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most ``_POSITIONS`` values: means of stretches of equal length, up to one position."""
    if len(curve) <= _POSITIONS:
        return curve
    starts = np.arange(_POSITIONS) * len(curve) // _POSITIONS
    return np.add.reduceat(curve, starts) / np.diff(starts, append=len(curve))


def _figures(gate: SampleGate) -> list[Any]:
    found = gate.statistics
    figures = [found["mean"], found["std"], found["min"], found["median"], found["max"]]
    shape = " x ".join(map(str, gate.values.shape))
    return [gate.label, shape, *(None if figure is None else rounded(figure) for figure in figures)]
