"""Everything that was found, in one dataclass: what the Markdown, the page and the pictures are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gatefuse_plugins.analysis.gates.entropy  # noqa: F401  registers itself
from gatefuse_plugins.analysis.gates.clusters import GateClusters, gate_clusters
from gatefuse_plugins.analysis.gates.comparison import SampleComparison
from gatefuse_plugins.analysis.gates.correlations import GateCorrelations, gate_correlations
from gatefuse_plugins.analysis.gates.data import SampleId
from gatefuse_plugins.analysis.gates.diagnosis import Diagnosis, diagnose_summary
from gatefuse_plugins.analysis.gates.distributions import LayerDistributions, layer_distributions
from gatefuse_plugins.analysis.gates.evolution import GateEvolution
from gatefuse_plugins.analysis.gates.gate_map import GateMap
from gatefuse_plugins.analysis.gates.individual import SampleGates
from gatefuse_plugins.analysis.gates.intervention_table import InterventionTable
from gatefuse_plugins.analysis.gates.overall import OverallStatistics, overall_statistics
from gatefuse_plugins.analysis.gates.patterns import ActivationPatterns, activation_patterns
from gatefuse_plugins.analysis.gates.runs import RunComparison
from gatefuse_plugins.analysis.gates.summary import GateSummary
from gatefuse_plugins.analysis.moment_queries import MomentQuery
from gatefuse_plugins.registry import ANALYSES


@dataclass(frozen=True)
class GateReport:
    """
    Attributes:
        origin: what was analysed, one line.
        summary: figures of all samples and gates.
        diagnosis: verdict and first paragraph.
        overall, distributions, patterns, clusters, correlations: of all samples.
        individuals: samples of which single pictures are drawn.
        queries: by sample id, windows, saliency and labels of moment-retrieval samples among ``individuals``; empty
            where no model was run.
        gate_maps: of composed-retrieval samples; empty where there are none.
        comparison: of the samples asked for with ``--compare-samples``.
        evolution: over training, where a training log was given.
        runs: where several logs were given.
        interventions: with ``--intervene``.
        extra: results of registered analyses by name; each is a dataclass.
        warnings: what a reader has to know: values left out, gates that belong to no sample, a torn log.
    """

    origin: str
    summary: GateSummary
    diagnosis: Diagnosis
    overall: OverallStatistics
    distributions: LayerDistributions
    patterns: ActivationPatterns
    clusters: GateClusters
    correlations: GateCorrelations
    individuals: tuple[SampleGates, ...] = ()
    queries: Mapping[SampleId, MomentQuery] = field(default_factory=dict)
    gate_maps: tuple[GateMap, ...] = ()
    comparison: SampleComparison | None = None
    evolution: GateEvolution | None = None
    runs: RunComparison | None = None
    interventions: InterventionTable | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def build_report(summary: GateSummary, warnings: tuple[str, ...] = (), **parts: Any) -> GateReport:
    """All analyses of ``summary``, built in and registered.

    A registered analysis that raises is named in the report's warnings, and does not keep the others from their work.

    Args:
        warnings: see :class:`GateReport`.
        **parts: those fields of :class:`GateReport` that a summary does not give, such as ``individuals``.
    """
    extra: dict[str, Any] = {}
    for name, analyse in ANALYSES.module_dict.items():
        try:
            extra[name] = analyse(summary)
        except Exception as error:  # anything at all, for a registered analysis is anybody's code
            warnings += (f"The analysis {name} failed and is missing: {type(error).__name__}: {error}",)
    return GateReport(
        origin=summary.origin,
        summary=summary,
        diagnosis=diagnose_summary(summary, parts.get("interventions")),
        overall=overall_statistics(summary),
        distributions=layer_distributions(summary),
        patterns=activation_patterns(summary),
        clusters=gate_clusters(summary),
        correlations=gate_correlations(summary),
        extra=extra,
        warnings=warnings,
        **parts,
    )
