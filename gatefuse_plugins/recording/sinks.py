"""What becomes of recorded gate values; here their statistics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, GatefuseError
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.running_moments import RunningMoments, sample_states
from gatefuse_plugins.recording.statistics import SampleStatistics
from gatefuse_plugins.recording.subsample import Subsample


class GateSink:
    """Takes in values as they pass taps. All methods run inside the forward pass and must not change a value."""

    def observe(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> None:
        """A value (B, ...) has passed tap ``name``; ``mask`` as the tap got it."""

    def start(self) -> None:
        """A forward of the model begins; forget what one that raised has left behind."""

    def finish(self, ids: Sequence[Any]) -> None:
        """A forward of the model, whose samples are ``ids``, has ended."""


def check_sinks(sinks: Any) -> None:
    """ConfigError where ``sinks`` is no sequence of :class:`GateSink`."""
    if not isinstance(sinks, Sequence):
        raise ConfigError(f"sinks={sinks!r}: expected a list of GateSink, such as [ValuesSink(function)]")
    for at, sink in enumerate(sinks):
        if not isinstance(sink, GateSink):
            raise ConfigError(f"sinks[{at}] is {sink!r}; expected a GateSink, such as ValuesSink(function)")


class StatisticsSink(GateSink):
    """Moments of every tap; on demand also a subsample of every tap, and moments of every sample.

    Args:
        taps: name to tap.
        seed: of the subsamples.
        whole: keep subsamples and samples too.
    """

    def __init__(self, taps: dict[str, GateTap], seed: Sequence[int] = (0,), whole: bool = True) -> None:
        self.moments = {name: RunningMoments(tap.low, tap.high) for name, tap in taps.items()}
        self.subsamples = {name: Subsample(seed=(*seed, at)) for at, name in enumerate(taps) if whole}
        self._whole = whole
        self._seen: Counter[str] = Counter()
        self._pending: list[tuple[str, int, Tensor]] = []
        self._rows: list[tuple[list[Any], list[tuple[str, int]], NDArray[np.float64]]] = []

    def start(self) -> None:
        self._seen.clear()
        self._pending.clear()

    def observe(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> None:
        if not value.numel():
            return
        moments = self.moments[name]
        states = sample_states(value, mask, moments.edges)
        moments.merge(states)
        if self._whole:
            self.subsamples[name].update(value, mask)
            self._pending.append((name, self._seen[name], states))
            self._seen[name] += 1

    def finish(self, ids: Sequence[Any]) -> None:
        if self._pending:
            blocks = [rows_of(states, len(ids), name) for name, _, states in self._pending]
            first = blocks[0].device
            fetched = torch.stack([block.to(first) for block in blocks]).cpu().double().numpy()
            self._rows.append((list(ids), [(name, at) for name, at, _ in self._pending], fetched))
        self.start()

    def table(self) -> SampleStatistics:
        """Statistics of every sample that a finished forward has seen."""
        sample: list[Any] = []
        tap: list[str] = []
        passes: list[int] = []
        for ids, columns, _ in self._rows:
            sample += ids * len(columns)
            tap += [name for name, _ in columns for _ in ids]
            passes += [at for _, at in columns for _ in ids]
        joined = np.concatenate([block.reshape(-1, 7) for *_, block in self._rows] or [np.zeros((0, 7))])
        count = joined[:, 0]
        divisor = np.where(count > 0, count, np.nan)
        figures = (joined[:, 3], joined[:, 4], joined[:, 5] / divisor, joined[:, 6] / divisor)
        low, high, near_low, near_high = (np.where(count > 0, column, math.nan) for column in figures)
        mean, std = np.where(count > 0, joined[:, 1], math.nan), np.sqrt(joined[:, 2] / divisor)
        whole = count.astype(np.int64)
        return SampleStatistics(
            sample, tap, np.array(passes, np.int64), whole, mean, std, low, high, near_low, near_high
        )


def rows_of(value: Tensor, size: int, name: str) -> Tensor:
    """``value`` (B, ...) as (size, ...); a value that a batch shares (B = 1) belongs to each of its samples.

    Raises:
        GatefuseError: B is neither 1 nor ``size``.
    """
    check_rows(len(value), size, name)
    return value.expand(size, *value.shape[1:])


def check_rows(rows: int, size: int, name: str) -> None:
    if rows not in (1, size):
        raise GatefuseError(
            f"gate {name} gave values of {rows} samples in a forward of {size}; name the samples that pass this gate"
            " with sample_ids, or record it apart with select"
        )
