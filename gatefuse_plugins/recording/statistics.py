"""Figures of recorded gates: of one tap, of a group of taps, of every sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatefuse_plugins.recording.running_moments import RunningMoments
from gatefuse_plugins.recording.subsample import Drawn, rank_error

BINS = 64


@dataclass(frozen=True)
class TapStatistics:
    """Statistics of the valid values that passed one tap, or a group of taps.

    ``std`` is the population's. ``saturated_low`` and ``saturated_high`` are the fractions of values within 2 % of
    the range from its lower and upper end (0 for an open range). ``count`` is 0, and the figures are NaN, where every
    value was masked. All these are exact up to rounding.

    Those from ``percentile_25`` on come from a uniform sample of ``sampled`` values (0: none was taken): quantiles,
    their ranks within ``rank_error``; shares of ``BINS`` equal bins from ``histogram_low`` to ``histogram_high`` (the
    tap's range, or the values' own where it is open), and the entropy of those shares in nats, 0..ln(64), whose bias
    is at most (bins - 1) / (2 sampled) downwards (Miller, 1955).
    """

    kind: str
    layer: int | None
    low: float | None
    high: float | None
    neutral: float
    count: int
    mean: float
    std: float
    minimum: float
    maximum: float
    saturated_low: float
    saturated_high: float
    percentile_25: float = math.nan
    median: float = math.nan
    percentile_75: float = math.nan
    percentile_95: float = math.nan
    entropy: float = math.nan
    histogram: tuple[float, ...] = ()
    histogram_low: float = math.nan
    histogram_high: float = math.nan
    sampled: int = 0

    @property
    def saturated(self) -> float:
        """Fraction of values near either end of the range."""
        return self.saturated_low + self.saturated_high

    @property
    def rank_error(self) -> float:
        """See :func:`~gatefuse_plugins.recording.subsample.rank_error`; 0 where every value was kept."""
        return 0.0 if self.sampled == self.count else rank_error(self.sampled)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; what is NaN or infinite is None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class SampleStatistics:
    """One row for each sample, tap and pass; columns of equal length.

    Attributes:
        sample: the sample's id.
        tap: name of the tap.
        pass_index: 0 for the first value that the tap gave in a forward of the model, 1 for the second, and so on.
        count, mean, std, minimum, maximum, saturated_low, saturated_high: as in :class:`TapStatistics`.
    """

    sample: list[Any]
    tap: list[str]
    pass_index: NDArray[np.int64]
    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    saturated_low: NDArray[np.float64]
    saturated_high: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sample)


def figures(state: Sequence[float]) -> dict[str, Any]:
    """``count, mean, std, minimum, maximum, saturated_low, saturated_high`` of a ``RunningMoments.state``."""
    count, mean, m2, minimum, maximum, near_low, near_high = state
    if count == 0:
        empty = ("mean", "std", "minimum", "maximum", "saturated_low", "saturated_high")
        return {"count": 0, **dict.fromkeys(empty, math.nan)}
    return {
        "count": int(count),
        "mean": mean,
        "std": math.sqrt(m2 / count),
        "minimum": minimum,
        "maximum": maximum,
        "saturated_low": near_low / count,
        "saturated_high": near_high / count,
    }


def distribution(drawn: Sequence[tuple[Drawn, int]], low: float | None, high: float | None) -> dict[str, Any]:
    """Quantiles, histogram and entropy of one stream, or several: samples, each with the count that it stands for."""
    parts = [(part.values[np.isfinite(part.values)], count) for part, count in drawn]
    parts = [(values, count) for values, count in parts if len(values)]
    if not parts:
        return {}
    values = np.concatenate([part for part, _ in parts]).astype(np.float64)
    weights = np.concatenate([np.full(len(part), count / len(part)) for part, count in parts])
    order = np.argsort(values)
    values, weights = values[order], weights[order] / weights.sum()
    # the middle of each value's own share, so that a single value is its own median
    ranks = np.cumsum(weights) - weights / 2
    quantiles = np.interp([0.25, 0.5, 0.75, 0.95], ranks, values)
    left = float(values[0]) if low is None or high is None else low
    right = float(values[-1]) if low is None or high is None else high
    if left == right:
        left, right = left - 0.5, right + 0.5
    shares, _ = np.histogram(values, BINS, (left, right), weights=weights)
    held = shares[shares > 0]
    return {
        "percentile_25": float(quantiles[0]),
        "median": float(quantiles[1]),
        "percentile_75": float(quantiles[2]),
        "percentile_95": float(quantiles[3]),
        "entropy": float(max(0.0, -(held * np.log(held)).sum())),
        "histogram": tuple(shares.tolist()),
        "histogram_low": left,
        "histogram_high": right,
        "sampled": len(values),
    }


def fetch_states(moments: Mapping[str, RunningMoments]) -> dict[str, list[float]]:
    """States of all accumulators that saw a value, brought to the host with one transfer for each device."""
    by_device: dict[torch.device, dict[str, Tensor]] = {}
    for name, moment in moments.items():
        if moment.state is not None:
            by_device.setdefault(moment.state.device, {})[name] = moment.state
    fetched: dict[str, list[float]] = {}
    for states in by_device.values():
        fetched.update(zip(states, torch.stack(list(states.values())).tolist(), strict=True))
    return {name: fetched[name] for name in moments if name in fetched}
