"""Some samples side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, labels
from gatefuse_plugins.analysis.gates.individual import SampleGate, SampleGates
from gatefuse_plugins.analysis.gates.summary import Floats
from gatefuse_plugins.analysis.gates.summary_rows import mean_over_bins
from gatefuse_plugins.analysis.gates.summary_stream import TIME_BINS


@dataclass(frozen=True)
class SampleComparison:
    """
    Attributes:
        samples: N samples, in the order asked for.
        gates, labels: T gates, and short names unlike each other.
        means, stds: (N, T) of each sample and gate; NaN without values.
        distances: (N, N) root mean square over gates of the difference of means; NaN where two share no gate.
        curves: (N, T, 75) mean over channels at relative time; NaN for headwise gates and without values.
    """

    samples: tuple[Sample, ...]
    gates: tuple[GateInfo, ...]
    labels: tuple[str, ...]
    means: Floats
    stds: Floats
    distances: Floats
    curves: Floats


def compare_samples(samples: tuple[SampleGates, ...]) -> SampleComparison:
    """Means, distances and curves of some samples."""
    gates = tuple(held.gate for held in samples[0].gates) if samples else ()
    size = (len(samples), len(gates))
    means, stds = (
        np.array([[_number(held.statistics[key]) for held in one.gates] for one in samples]).reshape(size)
        for key in ("mean", "std")
    )
    curves = np.array([[_relative(held) for held in one.gates] for one in samples])
    squares = (means[:, None] - means[None]) ** 2
    shared = np.isfinite(squares)
    count = shared.sum(axis=2)
    total = np.where(shared, squares, 0.0).sum(axis=2)
    return SampleComparison(
        samples=tuple(one.sample for one in samples),
        gates=gates,
        labels=tuple(labels(gates)),
        means=means,
        stds=stds,
        distances=np.sqrt(np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)),
        curves=curves.reshape(*size, TIME_BINS),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _relative(held: SampleGate) -> Floats:
    """(75,) the curve at relative time."""
    if held.granularity in ("none", "headwise"):
        return np.full(TIME_BINS, math.nan)
    return mean_over_bins(held.curve, np.array([0, len(held.curve)]), TIME_BINS)[0]
