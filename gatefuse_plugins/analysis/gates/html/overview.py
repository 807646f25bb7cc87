"""What was analysed, what is wrong with it, and how its figures are to be read."""

from __future__ import annotations

from gatefuse_plugins.analysis.gates.data import GateInfo
from gatefuse_plugins.analysis.gates.html.blocks import Block, Section, notice, paragraph, table
from gatefuse_plugins.analysis.gates.html.reading import acts_on, meaning, value_range
from gatefuse_plugins.analysis.gates.report import GateReport


def overview(report: GateReport) -> Section:
    """Counts, findings of the diagnosis, and warnings."""
    overall, summary = report.overall, report.summary
    values, layers = int(summary.total_count.sum()), f"{overall.layers} layer{'' if overall.layers == 1 else 's'}"
    rows = [
        ["Samples", f"{overall.samples:,}"],
        ["Gates", f"{len(summary.gates)} in {layers}: {', '.join(summary.kinds) or 'none'}"],
        ["Values", f"{values:,} ({overall.gating_type})"],
        ["Left out", f"{overall.non_finite:,} NaN or infinite values"],
        ["Known of samples", ", ".join(summary.outcome_names) or "no outcome"],
    ]
    blocks: list[Block] = [{"type": "facts", "rows": rows}]
    if report.diagnosis.findings:
        findings = [finding.message for finding in report.diagnosis.findings]
        blocks.append({"type": "messages", "title": f"Findings ({len(findings)})", "items": findings})
    return {"id": "overview", "title": "Overview", "blocks": [notice(text) for text in report.warnings] + blocks}


def how_to_read(report: GateReport) -> Section | None:
    """A row for each kind of gate and, within it, each range."""
    if not report.summary.gates:
        return None
    forms: dict[tuple[object, ...], list[GateInfo]] = {}
    for gate in report.summary.gates:
        forms.setdefault((gate.kind, gate.low, gate.high, gate.neutral), []).append(gate)
    rows = [
        [gate.kind, count, value_range(gate), f"{gate.neutral:g}", acts_on(gate.kind), meaning(gate)]
        for gate, count in ((gates[0], len(gates)) for gates in forms.values())
    ]
    intro = (
        "A gate lets a context (audio, text) change a stream (video clips, image tokens). At its neutral value the"
        " context changes nothing there; how far a gate stands from it says how much it does. Judge a gate by whether"
        " it varies with its input: one that gives every sample the same value only rescales a branch. Large values are"
        " not a merit: only an intervention shows what a gate is worth."
    )
    columns = ["Kind", "Gates", "Range", "Neutral", "Acts on", "What values mean"]
    return {"id": "reading", "title": "How to read a gate", "blocks": [paragraph(intro), table("", columns, rows)]}
