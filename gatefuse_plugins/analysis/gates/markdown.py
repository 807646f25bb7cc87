"""``ANALYSIS_REPORT.md``: the findings in words and tables."""

from __future__ import annotations

from collections.abc import Callable

from gatefuse_plugins.analysis.gates.html.reading import acts_on, meaning, value_range
from gatefuse_plugins.analysis.gates.markdown_tables import bullets, interval, number, own_tables, table
from gatefuse_plugins.analysis.gates.report import GateReport
from gatefuse_plugins.recording.statistics import TapStatistics

_SHOWN_CORRELATIONS, _SHOWN_OUTCOMES = 20, 4
_FIGURES = ("mean", "std", "min", "5 %", "median", "95 %", "max", "at low end", "at high end")


def markdown(report: GateReport) -> str:
    """The report; sections without content are left out."""
    sections: list[tuple[str, Callable[[GateReport], str]]] = [
        ("What was found", lambda report: bullets(finding.message for finding in report.diagnosis.findings)),
        ("To know", lambda report: bullets(report.warnings)),
        ("Overall", _overall),
        ("Gates", _gates),
        ("How to read a gate", _reading),
        ("Interventions", _interventions),
        ("Samples", _samples),
        ("Groups of samples", _clusters),
        ("Correlations", _correlations),
        ("Compared samples", _comparison),
        ("Over training", _evolution),
        ("Runs", _runs),
        ("Own analyses", lambda report: own_tables(report.extra)),
    ]
    parts = ["# Gate analysis", report.diagnosis.paragraph, f"Analysed: {report.origin}."]
    for title, write in sections:
        if text := write(report):
            parts += [f"## {title}", text]
    return "\n\n".join(parts) + "\n"


def _overall(report: GateReport) -> str:
    found = report.overall
    facts = (
        f"{found.samples:,} samples, {found.layers} layers with gates, {len(found.gates)} gates, gating type"
        f" {found.gating_type}; {found.non_finite:,} values were NaN or infinite and are left out."
    )
    rows = [[f"{kind} gates", *_figures(figures)] for kind, figures in found.by_kind.items()]
    head = ["kind", *(name for name in _FIGURES if name != "5 %")]
    return facts + ("\n\n" + table(head, rows) if rows else "")


def _gates(report: GateReport) -> str:
    found, rows = report.overall, []
    for one, figures, between, within in zip(
        report.distributions.gates, found.by_gate, found.between_samples, found.within_samples, strict=True
    ):
        cells = _figures(figures)
        rows.append(
            [one.label, *cells[:3], number(float(one.percentiles[0])), *cells[3:], number(between), number(within)]
        )
    head = ["gate", *_FIGURES, "std between samples", "std along a sample"]
    return table(head, rows) if rows else ""


def _figures(figures: TapStatistics) -> list[str]:
    values = (figures.mean, figures.std, figures.minimum, figures.median, figures.percentile_95, figures.maximum)
    shares = (figures.saturated_low, figures.saturated_high)
    return [*map(number, values), *(number(share, percent=True) for share in shares)]


def _reading(report: GateReport) -> str:
    kinds = {gate.kind: gate for gate in reversed(report.summary.gates)}
    return bullets(
        f"**{kind}** gates act on {acts_on(kind)}. Range: {value_range(gate)}; neutral: {gate.neutral:g}."
        f" {meaning(gate)}"
        for kind, gate in reversed(kinds.items())
    )


def _interventions(report: GateReport) -> str:
    found = report.interventions
    if found is None:
        return ""
    text = f"### {found.metrics[0]}\n\n{found.metric_markdown(found.metrics[0])}"
    more = f"\n\nAll metrics, and how it was done: `interventions.md` ({found.samples:,} samples)."
    return text + more + (f"\n\n{found.off_topic_paragraph}" if found.off_topic_paragraph else "")


def _samples(report: GateReport) -> str:
    found = report.patterns
    if not found.top:
        return ""
    rows = [
        [
            str(report.summary.samples[high].id),
            number(found.sample_means[high]),
            str(report.summary.samples[low].id),
            number(found.sample_means[low]),
        ]
        for high, low in zip(found.top, found.bottom, strict=True)
    ]
    return "Means over all gates.\n\n" + table(["largest mean", "", "smallest mean", ""], rows, left=(0, 2))


def _clusters(report: GateReport) -> str:
    found = report.clusters
    if found.k < 2:
        return found.note
    names = list(found.outcomes)[:_SHOWN_OUTCOMES]
    rows = [
        [str(at), f"{size:,}", *map(number, found.centers[at]), *(number(found.outcomes[name][at]) for name in names)]
        for at, size in enumerate(found.sizes.tolist())
    ]
    head = ["group", "samples", *report.correlations.labels, *names]
    return f"{found.note} Mean gates and outcomes of each:\n\n{table(head, rows)}"


def _correlations(report: GateReport) -> str:
    kept = [
        one for one in (*report.correlations.between_kinds, *report.correlations.with_outcomes) if one.rho == one.rho
    ]
    if not kept:
        return ""
    kept.sort(key=lambda one: -abs(one.rho))
    rows = [[one.first, one.second, number(one.rho), number(one.p), number(one.q), f"{one.n:,}"] for one in kept]
    more = f" The {_SHOWN_CORRELATIONS} strongest of {len(kept)}." if len(kept) > _SHOWN_CORRELATIONS else ""
    unit = report.correlations.unit
    head = ["", "with", "rho", "p", "q", unit]
    return (
        f"Spearman's rank correlations over {unit}, of means. q: p adjusted for the number of pairs (Benjamini and"
        f" Hochberg). A correlation is no cause: see the interventions.{more}\n\n"
        + table(head, rows[:_SHOWN_CORRELATIONS], left=(0, 1))
    )


def _comparison(report: GateReport) -> str:
    found = report.comparison
    if found is None:
        return ""
    rows = [[str(one.id), *map(number, found.means[at])] for at, one in enumerate(found.samples)]
    return "Means. Picture: `comparisons/gate_comparison.png`.\n\n" + table(["sample", *found.labels], rows)


def _evolution(report: GateReport) -> str:
    found = report.evolution
    if found is None:
        return ""
    rows = [
        [
            one.label,
            f"{one.steps[0]:g} to {one.steps[-1]:g}",
            *(number(part[at]) for part in (one.mean, one.std) for at in (0, -1)),
        ]
        for one in found.gates
        if len(one.steps)
    ]
    head = ["gate", "steps", "mean at first", "mean at last", "std at first", "std at last"]
    return f"From `{found.source}`.\n\n{table(head, rows)}"


def _runs(report: GateReport) -> str:
    found = report.runs
    if found is None:
        return ""
    cells = [
        [name, f"{found.samples[run]:,}", *map(interval, found.means[run], found.stds[run])]
        for run, name in enumerate(found.names)
    ]
    text = "Mean ± standard deviation of all values.\n\n" + table(["run", "samples", *found.labels], cells)
    rows = [
        [one.label, one.first, one.second, f"{one.n:,}", number(one.difference), number(one.p), number(one.rho)]
        for one in found.paired
        if one.n
    ]
    if rows:
        head = ["gate", "of", "to", "common samples", "mean difference", "p (Wilcoxon)", "rho"]
        text += "\n\nDifferences of sample means on common samples.\n\n" + table(head, rows, left=(0, 1, 2))
    return text
