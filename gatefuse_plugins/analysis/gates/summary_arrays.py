"""From accumulators to the arrays of a :class:`~gatefuse_plugins.analysis.gates.summary.GateSummary`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.data import GateInfo
from gatefuse_plugins.analysis.gates.summary_stream import TIME_BINS, GateStream
from gatefuse_plugins.recording.running_moments import FIELDS
from gatefuse_plugins.recording.statistics import BINS, TapStatistics, figures

_DRAWN = (
    *("percentile_25", "median", "percentile_75", "percentile_95", "entropy", "histogram"),
    *("histogram_low", "histogram_high", "sampled"),
)
_FIGURES = ("count", "mean", "std", "minimum", "maximum", "saturated_low", "saturated_high")


def assemble(streams: Sequence[GateStream], samples: int, ranks: Sequence[float]) -> dict[str, Any]:
    """Fields of a summary, by name; ``ranks`` are those of its percentiles."""
    found = [stream.distribution(ranks) for stream in streams]
    percentiles = _stack([one[0] for one in found], (0, len(ranks)))
    shares = _stack([one[1] for one in found], (0, BINS))
    each = _figures(_stack([stream.states for stream in streams], (0, samples, len(FIELDS))).transpose(2, 1, 0))
    total = _figures(_stack([stream.total() for stream in streams], (0, len(FIELDS))).T)
    sizes = _stack([stream.sizes for stream in streams], (0, samples)).T.astype(np.int64)
    return {
        "granularity": tuple(stream.granularity for stream in streams),
        "positions": _stack([stream.positions for stream in streams], (0, samples)).T.astype(np.int64),
        "non_finite": sizes - each["count"],
        "time_std": _stack([stream.time_std for stream in streams], (0, samples)).T,
        "histogram": shares,
        "edges": _stack([one[2] for one in found], (0, BINS + 1)),
        "percentiles": percentiles,
        "entropy": np.where(total["count"] > 0, entropy(shares), math.nan),
        "total_non_finite": sizes.sum(axis=0) - total["count"],
        "time_profile": _stack([stream.time_profile() for stream in streams], (0, TIME_BINS)),
        **each,
        **{f"total_{name}": values for name, values in total.items()},
    }


def kind_statistics(gates: Sequence[GateInfo], streams: Sequence[GateStream]) -> dict[str, TapStatistics]:
    """Figures of all values of each kind, as exact as those of a gate; of one layer where the kind has but one.

    The range is the union of the gates' ranges, open where one of them is; neutral is the first gate's.
    """
    found = {}
    for kind in dict.fromkeys(gate.kind for gate in gates):
        members = [(gate, stream) for gate, stream in zip(gates, streams, strict=True) if gate.kind == kind]
        lows, highs = [gate.low for gate, _ in members], [gate.high for gate, _ in members]
        low = None if None in lows else min(value for value in lows if value is not None)
        high = None if None in highs else max(value for value in highs if value is not None)
        joined = GateStream.union(low, high, [stream for _, stream in members])
        quantiles, shares, edges = joined.distribution((25, 50, 75, 95))
        layer = members[0][0].layer if len(members) == 1 else None
        known = figures(joined.total().tolist())
        drawn = (*quantiles.tolist(), float(entropy(shares)) if known["count"] else math.nan, tuple(shares.tolist()))
        named = dict(zip(_DRAWN, (*drawn, float(edges[0]), float(edges[-1]), known["count"]), strict=True))
        found[kind] = TapStatistics(kind, layer, low, high, members[0][0].neutral, **known, **named)
    return found


def entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of histograms (..., bins), in nats."""
    return np.abs(np.sum(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0), axis=-1))


def _figures(state: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Figures of states (7, ...); NaN without values."""
    count, mean, m2, low, high, near_low, near_high = state
    known = count > 0
    held = np.where(known, count, math.nan)
    mean, low, high = (np.where(known, part, math.nan) for part in (mean, low, high))
    columns = (count.astype(np.int64), mean, np.sqrt(m2 / held), low, high, near_low / held, near_high / held)
    return dict(zip(_FIGURES, columns, strict=True))


def _stack(parts: Sequence[NDArray[Any]], empty: tuple[int, ...]) -> NDArray[np.float64]:
    return np.stack(parts) if parts else np.zeros(empty)
