"""The table of all samples, and those at either end of it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gatefuse_plugins.analysis.gates.html.blocks import Block, Section, beside, table
from gatefuse_plugins.analysis.gates.html.rounding import rounded, rounded_list
from gatefuse_plugins.analysis.gates.report import GateReport
from gatefuse_plugins.analysis.gates.summary import Floats


def samples(report: GateReport, viewed: dict[str, int]) -> Section:
    """Every sample as a row of columns.

    Args:
        viewed: by id as text, the place among the page's single samples.
    """
    rows = {at: viewed[str(sample.id)] for at, sample in enumerate(report.summary.samples) if str(sample.id) in viewed}
    block: Block = {"type": "samples", "columns": _columns(report), "viewed": rows}
    return {"id": "samples", "title": "Samples", "blocks": [block, *_extremes(report)]}


def _columns(report: GateReport) -> list[dict[str, Any]]:
    found = report.summary.samples
    columns = [_text("id", "Id", [str(sample.id) for sample in found])]
    for key, label in (("vid", "Video or image"), ("query", "Query")):
        texts = [getattr(sample, key) for sample in found]
        if any(text is not None for text in texts):
            columns.append(_text(key, label, [None if text is None else str(text) for text in texts]))
    for kind in report.patterns.kinds:
        spread = _mean_of_finite(report.summary.std[:, report.summary.of_kind(kind.kind)])
        columns += [
            _number(f"{kind.kind}_mean", f"{kind.kind} mean", kind.sample_means, "mean over the gates of this kind"),
            _number(
                f"{kind.kind}_std", f"{kind.kind} std", spread, "standard deviation within a gate; mean over gates"
            ),
        ]
    columns += [_number(name, name, report.summary.outcome(name), "") for name in report.summary.outcome_names]
    return columns


def _text(key: str, label: str, values: list[str | None]) -> dict[str, Any]:
    return {"key": key, "label": label, "numeric": False, "note": "", "values": values}


def _number(key: str, label: str, values: Floats, note: str) -> dict[str, Any]:
    return {"key": key, "label": label, "numeric": True, "note": note, "values": rounded_list(values)}


def _mean_of_finite(values: Floats) -> Floats:
    """Mean over the last axis, NaN left out; NaN where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy warns of rows without any value
        return np.asarray(np.nanmean(values, axis=-1) if values.shape[-1] else np.full(len(values), np.nan))


def _extremes(report: GateReport) -> list[Block]:
    """Samples whose gates are largest and smallest; nothing where the table above shows as much."""
    patterns = report.patterns
    if len(patterns.top) < 2 or len(report.summary.samples) <= len(patterns.top):
        return []
    columns = ["Id", "Query", "Mean of all gates"]
    tables = []
    for caption, places in (("Largest gates", patterns.top), ("Smallest gates", patterns.bottom)):
        picked = [(report.summary.samples[at], patterns.sample_means[at]) for at in places]
        tables.append(table(caption, columns, [[str(one.id), one.query or "", rounded(mean)] for one, mean in picked]))
    return [beside(tables)]
