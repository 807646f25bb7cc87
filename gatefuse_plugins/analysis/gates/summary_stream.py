"""The pass behind :func:`~gatefuse_plugins.analysis.gates.summary.summarise`: accumulators over blocks of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.summary_rows import as_half, combine_rows, mean_over_bins
from gatefuse_plugins.recording.running_moments import RunningMoments, combine, sample_states
from gatefuse_plugins.recording.statistics import BINS

GRANULARITIES = ("none", "global", "clipwise", "elementwise", "headwise")
_EMPTY = np.array([0.0, 0.0, 0.0, math.inf, -math.inf, 0.0, 0.0])
TIME_BINS = 75
_WORDS = 2**16


def granularity_of(values: NDArray[Any]) -> str:
    """What the values of one sample are: one of ``GRANULARITIES``."""
    if not values.size:
        return "none"
    if values.ndim > 2:
        return "headwise"
    return "elementwise" if values.shape[1] > 1 else "clipwise" if values.shape[0] > 1 else "global"


class GateStream:
    """All that is kept of one gate while samples stream by.

    Every finite value is counted under its float16 bits, so percentiles and histogram need no second pass and, of
    values that were stored as float16, are exact.

    Args:
        low, high: of the gate's range; see :class:`~gatefuse_plugins.recording.running_moments.RunningMoments`.
        samples: how many there will be.
    """

    def __init__(self, low: float | None, high: float | None, samples: int) -> None:
        self.low, self.high, self._edges = low, high, RunningMoments(low, high).edges
        self.granularity = GRANULARITIES[0]
        self.states = np.tile(_EMPTY, (samples, 1))
        self.positions, self.sizes = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
        self.time_std = np.full(samples, math.nan)
        self._time_sum, self._time_count = np.zeros(TIME_BINS), np.zeros(TIME_BINS)
        self._words = np.zeros(_WORDS, np.int64)

    @classmethod
    def union(cls, low: float | None, high: float | None, streams: Sequence[GateStream]) -> GateStream:
        """The values of several gates as those of one of the given range; for ``total`` and ``distribution``."""
        joined = cls(low, high, 0)
        joined.states = np.stack([stream.total() for stream in streams])
        joined._words = np.sum([stream._words for stream in streams], axis=0)
        return joined

    def take(self, start: int, block: Sequence[NDArray[Any]]) -> None:
        """Take in the samples from ``start`` on."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for at, values in enumerate(block):
            found = granularity_of(values)
            if found != "none":
                by_shape.setdefault(values.shape[1:], []).append(at)
                self.granularity = max(self.granularity, found, key=GRANULARITIES.index)
        for places in by_shape.values():
            self._take_alike(np.array(places) + start, [block[at] for at in places])

    def _take_alike(self, places: NDArray[np.int64], block: list[NDArray[Any]]) -> None:
        lengths = np.array([len(values) for values in block])
        joined = np.concatenate(block)
        rows = torch.from_numpy(joined.reshape(len(joined), -1))
        wide = rows.float()
        states = sample_states(wide[:, None], None, self._edges).numpy()
        if (broken := ~np.isfinite(states).all(axis=1)).any():
            ill = wide[torch.from_numpy(broken)]
            states[broken] = sample_states(ill, ill.isfinite(), self._edges).numpy()
        starts = np.concatenate([[0], np.cumsum(lengths)])
        self.positions[places], self.sizes[places] = lengths, lengths * rows.shape[1]
        self.states[places] = combine_rows(states, starts[:-1])
        self._count_words(rows if joined.dtype == np.float16 else wide)
        if joined.ndim == 2:
            self._take_time(places, np.where(states[:, 0] > 0, states[:, 1], math.nan), starts)

    def _count_words(self, rows: torch.Tensor) -> None:
        half = rows if rows.dtype == torch.float16 else as_half(rows)
        self._words += np.bincount(half.contiguous().numpy().view(np.uint16).reshape(-1), minlength=_WORDS)

    def _take_time(self, places: NDArray[np.int64], means: NDArray[np.float64], starts: NDArray[np.int64]) -> None:
        """Means of positions (rows of all samples) enter the time profile, and their spread each sample's figure."""
        valid = np.isfinite(means)
        filled = np.where(valid, means, 0.0)
        count, total = (np.add.reduceat(part, starts[:-1]) for part in (valid.astype(float), filled))
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = total / count
            spread = np.where(valid, means - np.repeat(centre, np.diff(starts)), 0.0)
            self.time_std[places] = np.sqrt(np.add.reduceat(spread**2, starts[:-1]) / count)
        profile = mean_over_bins(means, starts, TIME_BINS)
        self._time_sum += np.nansum(profile, axis=0)
        self._time_count += np.isfinite(profile).sum(axis=0)

    def time_profile(self) -> NDArray[np.float64]:
        """Mean over samples at relative time; NaN where no sample has a value."""
        unknown = np.full(TIME_BINS, math.nan)
        return np.divide(self._time_sum, self._time_count, out=unknown, where=self._time_count > 0)

    def total(self) -> NDArray[np.float64]:
        """State of the values of all samples, see ``FIELDS``."""
        states = self.states if len(self.states) else _EMPTY[None]
        return combine(torch.from_numpy(states)).numpy()

    def distribution(
        self, ranks: Sequence[float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Values at ``ranks`` (0..100, as ``numpy.percentile`` defines them), shares of bins, and the bins' edges."""
        values = np.arange(_WORDS, dtype=np.uint16).view(np.float16).astype(np.float64)
        held = np.flatnonzero((self._words > 0) & np.isfinite(values))
        held = held[np.argsort(values[held], kind="stable")]
        values, counts = values[held], self._words[held]
        low, high = self._span(values)
        if not len(values):
            return np.full(len(ranks), math.nan), np.zeros(BINS), np.linspace(low, high, BINS + 1)
        shares, edges = np.histogram(values, BINS, (low, high), weights=counts)
        upto = np.cumsum(counts)
        place = np.asarray(ranks, float) / 100 * (upto[-1] - 1)
        floor = np.floor(place)
        below, above = (
            values[np.searchsorted(upto, at, side="right").clip(max=len(values) - 1)] for at in (floor, floor + 1)
        )
        return below + (place - floor) * (above - below), shares / upto[-1], edges

    def _span(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """The gate's range, widened to its values; theirs where it is open."""
        ends = [end for end in (self.low, self.high) if end is not None and math.isfinite(end)]
        found = [*values[:1], *values[-1:], *(ends if len(ends) == 2 else [])]
        low, high = (float(min(found)), float(max(found))) if found else (0.0, 1.0)
        return (low, high) if low < high else (low - 0.5, high + 0.5)
