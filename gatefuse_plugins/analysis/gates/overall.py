"""All gates in figures: by gate, by kind, and pooled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatefuse_plugins.analysis.gates.data import GateInfo
from gatefuse_plugins.analysis.gates.summary import Floats, GateSummary
from gatefuse_plugins.analysis.gates.summary_stream import GRANULARITIES
from gatefuse_plugins.recording.statistics import TapStatistics


@dataclass(frozen=True)
class OverallStatistics:
    """
    Attributes:
        samples: how many.
        gating_type: the finest granularity: ``global``, ``clipwise``, ``elementwise``, ``headwise`` or ``none``.
        layers: number of layers that hold gates.
        gates: T gates.
        by_gate: (T) figures over all samples, in the order of ``gates``.
        by_kind: figures over all samples and layers of a kind, in the order of the model.
        between_samples: (T) standard deviation over samples of the sample mean.
        within_samples: (T) mean over samples of ``time_std``: change along a sample; NaN where not applicable.
        non_finite: NaN and infinite values that were left out, in all.
    """

    samples: int
    gating_type: str
    layers: int
    gates: tuple[GateInfo, ...]
    by_gate: tuple[TapStatistics, ...]
    by_kind: Mapping[str, TapStatistics]
    between_samples: tuple[float, ...]
    within_samples: tuple[float, ...]
    non_finite: int


def overall_statistics(summary: GateSummary) -> OverallStatistics:
    """Figures of all samples together."""
    by_gate = tuple(summary.statistics(at) for at in range(len(summary.gates)))
    found = [one for one in summary.granularity if one != "none"]
    return OverallStatistics(
        samples=len(summary.samples),
        gating_type=max(found, key=GRANULARITIES.index, default="none"),
        layers=len({gate.layer for gate in summary.gates}),
        gates=summary.gates,
        by_gate=by_gate,
        by_kind=summary.by_kind,
        between_samples=tuple(between_samples(summary).tolist()),
        within_samples=tuple(mean_over_samples(summary.time_std).tolist()),
        non_finite=int(summary.total_non_finite.sum()),
    )


def between_samples(summary: GateSummary) -> Floats:
    """(T,) standard deviation over samples of the sample mean; NaN without samples."""
    return np.sqrt(mean_over_samples((summary.mean - mean_over_samples(summary.mean)) ** 2))


def mean_over_samples(columns: Floats) -> Floats:
    """(T,) mean of (S, T), NaN left out; NaN where nothing is left."""
    held = np.isfinite(columns)
    count = held.sum(axis=0)
    total = np.where(held, columns, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(columns.shape[1], math.nan), where=count > 0)


def overall_json(found: OverallStatistics) -> dict[str, Any]:
    """What ``overall_statistics.json`` holds: keys of QD-DETR-exp's ``gate_analysis_utils.py``, and by gate."""
    layers: dict[str, dict[str, Any]] = {}
    for gate, figures in zip(found.gates, found.by_gate, strict=True):
        row = layers.setdefault("-" if gate.layer is None else str(gate.layer), {})
        row |= {f"{gate.kind}_mean": finite(figures.mean), f"{gate.kind}_std": finite(figures.std)}
    rows = zip(found.gates, found.by_gate, found.between_samples, found.within_samples, strict=True)
    return {
        "total_samples": found.samples,
        "gating_type": found.gating_type,
        "num_layers": found.layers,
        **{f"{kind}_gates": brief(figures) for kind, figures in found.by_kind.items()},
        "layer_statistics": layers,
        "gates": {
            gate.name: figures.to_dict()
            | {"std_between_samples": finite(between), "std_within_samples": finite(within)}
            for gate, figures, between, within in rows
        },
        "non_finite_values": found.non_finite,
    }


def brief(figures: TapStatistics) -> dict[str, Any]:
    """The figures that an array's statistics have; see :mod:`gatefuse_plugins.recording.array_statistics`."""
    names = {"mean": "mean", "std": "std", "min": "minimum", "max": "maximum", "median": "median"}
    ranks = {"25": "percentile_25", "75": "percentile_75", "95": "percentile_95"}
    return {key: finite(getattr(figures, name)) for key, name in names.items()} | {
        "percentiles": {key: finite(getattr(figures, name)) for key, name in ranks.items()}
    }


def finite(value: float) -> float | None:
    """``None`` for what JSON has no number for."""
    return value if math.isfinite(value) else None
