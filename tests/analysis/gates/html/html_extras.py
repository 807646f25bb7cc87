"""What a report may hold besides: interventions, gate maps, training, runs, samples compared, own analyses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from html_reports import gates

from gatefuse_plugins.analysis.gates.comparison import SampleComparison
from gatefuse_plugins.analysis.gates.data import Sample, labels
from gatefuse_plugins.analysis.gates.evolution import GateCurveOverTraining, GateEvolution
from gatefuse_plugins.analysis.gates.gate_map import GateMap, Retrieval, TokenMap
from gatefuse_plugins.analysis.gates.intervention_table import InterventionRow, InterventionTable
from gatefuse_plugins.analysis.gates.runs import PairedDifference, RunComparison

NAN = float("nan")


@dataclass(frozen=True)
class Own:
    """The result of an analysis of one's own."""

    labels: tuple[str, ...] = ("a", "b")
    values: tuple[float, ...] = (0.5, NAN)
    total: float = 2.5


def extras(samples: tuple[Sample, ...]) -> dict[str, object]:
    """For ``gate_report(samples, **extras(samples))``."""
    return {
        "interventions": interventions(),
        "gate_maps": (gate_map("7"), gate_map("8")),
        "comparison": _comparison(samples[:2]),
        "evolution": _evolution(),
        "runs": _runs(),
        "extra": {"own metric": Own()},
        "warnings": ("12 values were NaN and are left out.",),
    }


def _row(intervention: str, kind: str | None, layer: int | None, metric: str, change: float) -> InterventionRow:
    return InterventionRow(
        intervention=intervention,
        kind=kind,
        layer=layer,
        gates=(),
        metric=metric,
        baseline=45.2,
        value=45.2 + change,
        change=change,
        low=change - 1.1,
        high=change + 1.3,
        moved=0.12,
        samples=300,
        groups=100,
        applicable=True,
        meaning="it matters",
        sentence=f"Changes {metric} by {change:+.2f} points.",
    )


def interventions() -> InterventionTable:
    rows = [
        _row(name, kind, layer, metric, change)
        for metric in ("R1@0.5", "mAP")
        for name, kind, layer, change in (
            ("neutral", None, None, -4.5),
            ("mean", "attention", None, -0.4),
            ("shuffle_samples", "ffn", 1, 0.6),
        )
    ]
    nothing = dict.fromkeys(("baseline", "value", "change", "low", "high", "moved"), NAN)
    absent = replace(rows[0], intervention="shuffle_time", applicable=False, sentence="n/a: global gates", **nothing)
    return InterventionTable((*rows, absent), ("R1@0.5", "mAP"), "points", 300, 100, 2000, 0)


def gate_map(name: str) -> GateMap:
    """A 4 x 4 map over a picture, one value for the whole image, and three pictures found."""
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[24:72, 24:72] = (30, 160, 90)
    values = np.linspace(0, 1, 16).reshape(4, 4)
    maps = (
        TokenMap("fusion.gate_tap", "image", 0.5, values, False),
        TokenMap("fusion.delta_tap", "delta", 0.0, np.array([[0.3]]), True),
    )
    found = tuple(Retrieval(rank, f"dev-{rank}", 1 / rank, picture, rank == 2) for rank in (1, 2, 3))
    return GateMap(name, "is <b>green</b> & round", "dev-0", picture, maps, found, 2, 40)


def _comparison(samples: tuple[Sample, ...]) -> SampleComparison:
    taps, count = gates(), len(samples)
    means = np.arange(count * len(taps), dtype=float).reshape(count, -1) / 10
    distances = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) / 10.0
    curves = np.zeros((count, len(taps), 75))
    return SampleComparison(samples, taps, tuple(labels(taps)), means, means / 2, distances, curves)


def _evolution() -> GateEvolution:
    steps = np.arange(0, 500, 50, dtype=float)
    curves = tuple(
        GateCurveOverTraining(gate.name, gate.label, steps, np.sqrt(steps) / 40 * (at + 1), steps / 2000, steps, steps)
        for at, gate in enumerate(gates())
    )
    metrics = {"qvhighlights/MR-full-mAP": np.array([[100.0, 12.5], [300.0, 20.1], [450.0, 23.0]])}
    return GateEvolution("training_log.csv", curves, metrics)


def _runs() -> RunComparison:
    names = tuple(labels(gates()))
    values = np.array([[0.1, 0.2, 0.3, 0.4], [0.15, 0.2, NAN, 0.5]])
    paired = (PairedDifference(names[0], "a", "b", 12, 0.05, 0.8, 0.01),)
    return RunComparison(("a", "b"), names, values, values, values, values, (12, 12), paired)
