"""Reports with known numbers, put together without any analysis: what a page shows is tested, not how it was found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from html_relations import clusters, correlations
from html_views import CLIPS, moment_query, sample_gates

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, labels
from gatefuse_plugins.analysis.gates.distributions import GateDistribution, LayerDistributions
from gatefuse_plugins.analysis.gates.overall import OverallStatistics
from gatefuse_plugins.analysis.gates.patterns import ActivationPatterns, KindPattern
from gatefuse_plugins.analysis.gates.report import GateReport
from gatefuse_plugins.analysis.gates.summary import GateSummary

TIME_BINS = 75
NAN = float("nan")


@dataclass(frozen=True)
class Diagnosed:
    """As a diagnosis reads: verdict, first paragraph, findings."""

    verdict: str = "healthy"
    paragraph: str = "The gates vary with their input."
    findings: tuple[object, ...] = ()
    thresholds: object = None


def gates(layers: int = 2, kinds: tuple[str, ...] = ("attention", "ffn")) -> tuple[GateInfo, ...]:
    return tuple(
        GateInfo(f"fusion.layers.{layer}.{kind}_tap", kind, layer, -1.0, 1.0, 0.0)
        for layer in range(layers)
        for kind in kinds
    )


def gate_report(
    samples: tuple[Sample, ...], taps: tuple[GateInfo, ...] | None = None, views: int = 3, **more: object
) -> GateReport:
    """Gate ``t`` of sample ``s`` has the mean ``(s + t) / 100``; the first ``views`` samples have views."""
    taps = gates() if taps is None else taps
    summary = _summary(samples, taps)
    shown = tuple(sample_gates(sample, taps) for sample in samples[:views])
    parts: dict[str, object] = {
        "origin": "a log, embedded set",
        "summary": summary,
        "diagnosis": Diagnosed(),
        "overall": _overall(summary),
        "distributions": _distributions(summary),
        "patterns": _patterns(summary),
        "clusters": clusters(summary),
        "correlations": correlations(summary),
        "individuals": shown,
        "queries": {one.sample.id: moment_query(one.sample) for one in shown},
    }
    return GateReport(**{**parts, **more})


def some_samples(count: int) -> tuple[Sample, ...]:
    return tuple(
        Sample(f"q{at}", f"video{at % 7}", f"a dog barks {at} times", {"R1@0.5": at % 2, "IoU": (at % 10) / 10})
        for at in range(count)
    )


def _summary(samples: tuple[Sample, ...], taps: tuple[GateInfo, ...]) -> GateSummary:
    size = (len(samples), len(taps))
    means = np.add.outer(np.arange(size[0]), np.arange(size[1])) / 100.0
    ones, total = np.ones(size), np.ones(size[1])
    shares = np.exp(-((np.linspace(-1, 1, 64) - 0.2) ** 2) / 0.08)
    profile = 0.2 + 0.1 * np.sin(np.arange(TIME_BINS) / 10) + np.arange(size[1])[:, None] / 20
    return GateSummary(
        origin="a log, embedded set",
        gates=taps,
        samples=samples,
        granularity=("elementwise",) * size[1],
        positions=np.full(size, CLIPS),
        count=np.full(size, CLIPS * 4),
        non_finite=np.zeros(size, int),
        mean=means,
        std=ones * 0.25,
        minimum=means - 0.5,
        maximum=means + 0.5,
        saturated_low=ones * 0,
        saturated_high=ones * 0,
        time_std=ones * 0.1,
        histogram=np.tile(shares / shares.sum(), (size[1], 1)),
        edges=np.tile(np.linspace(-1, 1, 65), (size[1], 1)),
        percentiles=np.tile([-0.3, 0.0, 0.2, 0.4, 0.7], (size[1], 1)),
        entropy=total * 3,
        total_count=np.full(size[1], CLIPS * 4 * size[0]),
        total_non_finite=np.zeros(size[1], int),
        total_mean=means.mean(axis=0) if size[0] else total * NAN,
        total_std=total * 0.25,
        total_minimum=total * -0.9,
        total_maximum=total * 0.95,
        total_saturated_low=total * 0,
        total_saturated_high=total * 0.01,
        time_profile=profile,
    )


def _overall(summary: GateSummary) -> OverallStatistics:
    count = len(summary.gates)
    return OverallStatistics(
        samples=len(summary.samples),
        gating_type="elementwise" if count else "none",
        layers=len({gate.layer for gate in summary.gates}),
        gates=summary.gates,
        by_gate=tuple(summary.statistics(at) for at in range(count)),
        by_kind={},
        between_samples=(0.05,) * count,
        within_samples=(0.1,) * count,
        non_finite=0,
    )


def _distributions(summary: GateSummary) -> LayerDistributions:
    found = tuple(
        GateDistribution(
            gate,
            label,
            summary.edges[at],
            summary.histogram[at],
            float(summary.total_mean[at]),
            0.25,
            summary.percentiles[at],
            0.0,
            0.01,
            3.0,
            int(summary.total_count[at]),
        )
        for at, (gate, label) in enumerate(zip(summary.gates, labels(summary.gates), strict=True))
    )
    return LayerDistributions(summary.kinds, tuple(dict.fromkeys(gate.layer for gate in summary.gates)), found)


def _patterns(summary: GateSummary) -> ActivationPatterns:
    kinds = []
    for kind in summary.kinds:
        places = summary.of_kind(kind)
        means = summary.mean[:, places]
        found = tuple(summary.gates[at] for at in places)
        names = tuple(f"layer {gate.layer}" for gate in found)
        kinds.append(
            KindPattern(
                kind=kind,
                gates=found,
                labels=names,
                means=means,
                sample_means=means.mean(axis=1),
                layer_means=means.mean(axis=0) if len(means) else means.sum(axis=0),
                layer_stds=means.std(axis=0) if len(means) else means.sum(axis=0),
                time_profile=summary.time_profile[places],
                neutral=found[0].neutral,
                low=found[0].low,
                high=found[0].high,
            )
        )
    size = len(summary.samples)
    means = summary.mean.mean(axis=1) if summary.gates else np.full(size, NAN)
    order = tuple(range(size)) if summary.gates else ()
    spread = np.full(len(summary.gates), 0.1)
    ids = tuple(sample.id for sample in summary.samples)
    return ActivationPatterns(ids, tuple(kinds), means, order[::-1][:10], order[:10], spread, spread)
