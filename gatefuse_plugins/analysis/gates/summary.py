"""Figures of every sample and gate, from one pass over the values: all that later analyses need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.data import GateData, GateInfo, Sample
from gatefuse_plugins.analysis.gates.summary_arrays import assemble, kind_statistics
from gatefuse_plugins.analysis.gates.summary_stream import GateStream
from gatefuse_plugins.recording.statistics import TapStatistics

PERCENTILES = (5, 25, 50, 75, 95)
_FIRST_BLOCK, _LARGEST_BLOCK = 32, 4096  # samples
_BLOCK_VALUES = 2**20  # of one gate: what stays in a processor's cache

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class GateSummary:
    """S samples and T gates. Non-finite values are counted in ``non_finite`` and enter nothing else.

    Attributes:
        origin: see :class:`GateData`.
        gates: T gates in the model's order.
        samples: S samples in the order of recording.
        granularity: (T) ``global`` (one value a sample), ``clipwise`` (one a position), ``elementwise`` (one a
            position and channel), ``headwise``, or ``none`` where no sample has a value.
        positions: (S, T) rows of values: clips, image tokens, heads; 0 where the sample has no such gate.
        count: (S, T) finite values.
        non_finite: (S, T) NaN and infinite values.
        mean, std, minimum, maximum: (S, T) over positions and channels; NaN where ``count`` is 0. ``std`` is the
            population's.
        saturated_low, saturated_high: (S, T) fractions within 2 % of the range from its ends; 0 for an open range,
            NaN where ``count`` is 0.
        time_std: (S, T) standard deviation over positions of the mean over channels: how much the gate changes along a
            sample. 0 for a global gate; NaN for a headwise gate and where ``count`` is 0.
        histogram: (T, 64) shares of the finite values of all samples, summing to 1 (0 where there is none).
        edges: (T, 65) bin edges: over the gate's range, or over its values where the range is open.
        percentiles: (T, 5) at ``PERCENTILES``, over the finite values of all samples; of values rounded to float16
            (relative error 2**-11), otherwise exact. NaN where there is none.
        entropy: (T,) of ``histogram`` in nats, 0..ln(64); NaN where there is none.
        total_count: (T,) finite values of all samples.
        total_non_finite: (T,) the others.
        total_mean, total_std, total_minimum, total_maximum: (T,) over them; NaN where there is none.
        total_saturated_low, total_saturated_high: (T,) fractions of them.
        time_profile: (T, 75) mean over samples at relative time (b + 0.5) / 75, each sample with equal weight; NaN for
            headwise gates. A global gate gives a flat line.
        by_kind: figures of all values of each kind, in the order of :attr:`kinds`.
    """

    origin: str
    gates: tuple[GateInfo, ...]
    samples: tuple[Sample, ...]
    granularity: tuple[str, ...]
    positions: Counts
    count: Counts
    non_finite: Counts
    mean: Floats
    std: Floats
    minimum: Floats
    maximum: Floats
    saturated_low: Floats
    saturated_high: Floats
    time_std: Floats
    histogram: Floats
    edges: Floats
    percentiles: Floats
    entropy: Floats
    total_count: Counts
    total_non_finite: Counts
    total_mean: Floats
    total_std: Floats
    total_minimum: Floats
    total_maximum: Floats
    total_saturated_low: Floats
    total_saturated_high: Floats
    time_profile: Floats
    by_kind: Mapping[str, TapStatistics] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds in the order of their first gates."""
        return tuple(dict.fromkeys(gate.kind for gate in self.gates))

    def of_kind(self, kind: str) -> list[int]:
        """Places of the gates of ``kind``, in the model's order."""
        return [at for at, gate in enumerate(self.gates) if gate.kind == kind]

    @property
    def saturated(self) -> Floats:
        """(S, T) fraction of values near either end of the range."""
        return self.saturated_low + self.saturated_high

    def outcome(self, name: str) -> Floats:
        """(S,) the outcome ``name``, NaN where a sample has none."""
        return np.array([sample.outcomes.get(name, math.nan) for sample in self.samples], np.float64)

    @property
    def outcome_names(self) -> tuple[str, ...]:
        """Names of all outcomes, in the order of first appearance."""
        return tuple(dict.fromkeys(name for sample in self.samples for name in sample.outcomes))

    def statistics(self, at: int) -> TapStatistics:
        """Gate ``at`` over all samples, as the recorder gives it (for :mod:`gatefuse_plugins.recording.health`)."""
        gate, shares = self.gates[at], self.histogram[at]
        return TapStatistics(
            kind=gate.kind,
            layer=gate.layer,
            low=gate.low,
            high=gate.high,
            neutral=gate.neutral,
            count=int(self.total_count[at]),
            mean=float(self.total_mean[at]),
            std=float(self.total_std[at]),
            minimum=float(self.total_minimum[at]),
            maximum=float(self.total_maximum[at]),
            saturated_low=float(self.total_saturated_low[at]),
            saturated_high=float(self.total_saturated_high[at]),
            percentile_25=float(self.percentiles[at, 1]),
            median=float(self.percentiles[at, 2]),
            percentile_75=float(self.percentiles[at, 3]),
            percentile_95=float(self.percentiles[at, 4]),
            entropy=float(self.entropy[at]),
            histogram=tuple(shares.tolist()),
            histogram_low=float(self.edges[at, 0]),
            histogram_high=float(self.edges[at, -1]),
            sampled=int(self.total_count[at]),
        )


def summarise(data: GateData, samples: Sequence[Sample] | None = None) -> GateSummary:
    """One streaming pass over ``data`` (or over some of its ``samples``).

    Memory: some 250 bytes for each sample and gate, half a MiB for each gate, and a block of samples.

    Raises:
        DataError: damaged data.
    """
    chosen, gates = tuple(data.samples if samples is None else samples), tuple(data.gates.values())
    streams = [GateStream(gate.low, gate.high, len(chosen)) for gate in gates]
    start, size = 0, _FIRST_BLOCK
    while start < len(chosen):
        block, held = chosen[start : start + size], 0
        for gate, stream in zip(gates, streams, strict=True):
            values = [data.values(sample.id, gate.name) for sample in block]
            stream.take(start, values)
            held = max(held, sum(one.size for one in values))
        start += len(block)
        size = min(max(1, _BLOCK_VALUES * len(block) // max(held, 1)), _LARGEST_BLOCK)
    return GateSummary(
        data.origin,
        gates,
        chosen,
        **assemble(streams, len(chosen), PERCENTILES),
        by_kind=kind_statistics(gates, streams),
    )
