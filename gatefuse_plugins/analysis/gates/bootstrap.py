"""Confidence intervals of paired differences by the bootstrap, whole groups of samples drawn together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError

RESAMPLES = 2000
LEVEL = 0.95
# Counts drawn at a time: 16 MiB of int64 however many groups there are.
_CHUNK = 1 << 21

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and where it lies with 95 % confidence.

    Attributes:
        mean: over the samples that have a value.
        low, high: the 2.5 and 97.5 percentiles of the resampled means; NaN with fewer than two groups.
        samples: samples that have a value.
        groups: groups that these fall into; the number that the width of the interval rests on.
    """

    mean: float
    low: float
    high: float
    samples: int
    groups: int

    @property
    def excludes_zero(self) -> bool:
        """Does the whole interval lie on one side of 0?"""
        return self.low > 0 or self.high < 0


def bootstrap_means(
    values: Floats, groups: Sequence[Hashable] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Percentile intervals (Efron, 1979) of the means of columns; every column sees the same resamples.

    Whole groups are drawn with replacement (the cluster bootstrap, Field and Welsh, 2007): samples of one video share
    its picture and its gates, and counting them as independent would make intervals too narrow.

    Args:
        values: (N, M), NaN where a sample has no such figure; for paired intervals, differences of each sample.
        groups: (N,) equal for samples of one group; ``None``: each its own.
        resamples: how many.
        seed: of the resamples.

    Returns:
        M intervals; all NaN in a column without any value.

    Raises:
        DataError: ``values`` is no (N, M), ``groups`` are of another length, or ``resamples`` is below 1.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or (groups is not None and len(groups) != len(values)) or resamples < 1:
        named = "none" if groups is None else len(groups)
        raise DataError(
            f"bootstrap of values {values.shape}, groups {named}, {resamples} resamples; expected (samples, figures), a"
            " group for each sample and at least 1 resample"
        )
    place = _numbered(groups, len(values))
    size = int(place.max(initial=-1)) + 1
    given = np.isfinite(values)
    totals, counts = np.zeros((2, size, values.shape[1]))
    np.add.at(totals, place, np.where(given, values, 0.0))
    np.add.at(counts, place, given)
    means = _resampled_means(totals, counts, resamples, seed)
    tail = (1 - LEVEL) / 2
    found = []
    for column in range(values.shape[1]):
        number, held = int(counts[:, column].sum()), int((counts[:, column] > 0).sum())
        mean = float(totals[:, column].sum() / number) if number else np.nan
        drawn = means[:, column][np.isfinite(means[:, column])]  # a resample may miss every sample with this figure
        low, high = np.quantile(drawn, [tail, 1 - tail]).tolist() if held > 1 else (np.nan, np.nan)
        found.append(Interval(mean, low, high, number, held))
    return found


def _resampled_means(totals: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """(resamples, M) means over groups drawn with replacement, from each group's totals and counts (G, M)."""
    size = len(totals)
    if not size:
        return np.full((resamples, totals.shape[1]), np.nan)
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // size)
    parts = []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = random.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
        number = times @ counts
        parts.append(np.divide(times @ totals, number, out=np.full(number.shape, np.nan), where=number > 0))
    return np.concatenate(parts)


def _numbered(groups: Sequence[Hashable] | None, size: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(size)
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)
