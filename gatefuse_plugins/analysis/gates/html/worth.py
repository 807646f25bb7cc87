"""What becomes of the metrics when gates are frozen, opened or shuffled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatefuse_plugins.analysis.gates.html.blocks import Block, Section, paragraph, table
from gatefuse_plugins.analysis.gates.html.rounding import rounded
from gatefuse_plugins.analysis.gates.report import GateReport

if TYPE_CHECKING:
    from gatefuse_plugins.analysis.gates.intervention_table import InterventionRow, InterventionTable


def interventions(report: GateReport) -> Section | None:
    """A table with bars for each metric, the most telling first; gates against a known off-topic mask."""
    found = report.interventions
    if found is None:
        return None
    spread = f"{found.samples:,} samples" + (f" in {found.groups:,} groups" if found.groups != found.samples else "")
    intro = (
        f"The data set was evaluated again with gates at other values: {spread}. Bars are 95 % intervals of the change,"
        f" from a paired bootstrap of {found.resamples:,} resamples (seed {found.seed}); grey ones hold 0, so no effect"
        " can be shown. Where nothing has an effect, about one row in twenty still leaves 0 out."
    )
    blocks = [paragraph(intro), *(_metric(found, metric, metric == found.metrics[0]) for metric in found.metrics)]
    if found.off_topic_paragraph:
        rows = [
            [one.kind, "" if one.layer is None else str(one.layer), one.gate, rounded(one.auc)]
            for one in found.off_topic
        ]
        blocks += [
            paragraph(found.off_topic_paragraph),
            table("Gates against the mask", ["Kind", "Layer", "Gate", "AUC"], rows),
        ]
    return {"id": "interventions", "title": "What the gates are worth", "blocks": blocks}


def _metric(found: InterventionTable, metric: str, first: bool) -> Block:
    rows = [row for row in found.rows if row.metric == metric]
    baseline = next((f"{row.baseline:.4g}" for row in rows if row.applicable), "unknown")
    return {
        "type": "intervals",
        "title": metric,
        "note": f"{metric} without intervention: {baseline}",
        "open": first,
        "rows": [_row(row) for row in rows],
    }


def _row(row: InterventionRow) -> dict[str, Any]:
    figures = dict.fromkeys(("moved", "value", "change", "low", "high"))
    if row.applicable:
        figures = {name: rounded(getattr(row, name)) for name in figures}
    return {
        "intervention": row.intervention.replace("_", " "),
        "gates": row.where,
        "meaning": f"{row.meaning[:1].upper()}{row.meaning[1:]}.",
        "sentence": row.sentence,
        **figures,
    }
