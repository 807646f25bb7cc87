"""What :func:`record_gates` yields: the values of a scope, or their statistics."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_rank
from numpy.typing import NDArray
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError, suggestion
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.grouping import GROUPS, TapShare, group_statistics
from gatefuse_plugins.recording.sample_ids import SampleIds, SampleNames, hashable
from gatefuse_plugins.recording.sinks import GateSink, StatisticsSink
from gatefuse_plugins.recording.statistics import SampleStatistics, TapStatistics, fetch_states
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink

REDUCTIONS = ("statistics", "moments")


class GateRecording:
    """The recording of one scope; see :func:`~gatefuse_plugins.recording.recorder.record_gates` for the arguments.

    May be asked inside the scope (what came so far) and after it.

    Attributes:
        taps: those that are listened to, by name.
        passed: whether a value has passed any of them.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: dict[str, GateTap],
        reduce: str | None = "statistics",
        sample_ids: SampleIds = None,
        sinks: Sequence[GateSink] = (),
        seed: int = 0,
    ) -> None:
        self.taps, self.passed = taps, False
        self._ids = SampleNames(model, sample_ids)
        self._statistics = StatisticsSink(taps, (seed, get_rank()), whole=reduce != "moments")
        self._values: dict[Any, dict[str, list[NDArray[np.float32]]]] = {}
        own = [ValuesSink(self._keep)] if reduce is None else []
        self._sinks: list[GateSink] = [self._statistics, *own, *sinks]
        self._reduce = reduce
        self._current: list[Any] | None = None
        self._rows: set[int] = set()
        self._numbered = sample_ids is None
        self._warned = False
        self._inside, self._closed = False, False

    @property
    def names(self) -> list[str]:
        """Names of the taps that are listened to, whether or not a value has passed them."""
        return list(self.taps)

    def set_sample_ids(self, ids: Sequence[Any]) -> None:
        """Name the samples of the next forward, whatever ``sample_ids`` says."""
        self._ids.give(ids)

    def summary(self, by: str = "tap") -> dict[str, TapStatistics]:
        """Statistics by tap name; a tap that no value passed is left out. One transfer for each device.

        Args:
            by: ``tap``; or pooled by ``kind``, by ``layer`` (named by its number, ``-`` for none), or ``all``.

        Raises:
            ConfigError: ``by`` is unknown.
        """
        if by not in GROUPS:
            raise ConfigError(f"summary by {by!r} is unknown{suggestion(by, GROUPS)}")
        return group_statistics(self._shares(), by)

    def gathered(self, by: str = "tap") -> dict[str, TapStatistics]:
        """As :meth:`summary`, over the samples of all ranks; every rank has to ask, and each gets the result."""
        if by not in GROUPS:
            raise ConfigError(f"summary by {by!r} is unknown{suggestion(by, GROUPS)}")
        ranks: list[list[TapShare]] = all_gather_object(self._shares())
        return group_statistics([share for rank in ranks for share in rank], by)

    def samples(self) -> SampleStatistics:
        """Statistics of every sample whose forward has ended; without rows where ``reduce`` is ``moments``."""
        return self._statistics.table()

    def values(self, sample: Any, name: str, pass_index: int = 0) -> NDArray[np.float32]:
        """Valid values of one sample at tap ``name``, (rows, ...); needs ``reduce=None``.

        Raises:
            DataError: values were not kept, or none of that sample, tap and pass.
        """
        if self._reduce is not None:
            raise DataError(f"reduce={self._reduce!r} kept no values; record with reduce=None")
        for wanted, known in ((sample, self._values), (name, self._values.get(sample, {}))):
            if wanted not in known:
                raise DataError(f"no gate values of {wanted!r}{suggestion(str(wanted), map(str, known))}")
        passes = self._values[sample][name]
        if not 0 <= pass_index < len(passes):
            raise DataError(f"gate {name} gave {len(passes)} values for sample {sample!r}; pass {pass_index} is none")
        return passes[pass_index]

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward of the model begins."""
        if self._closed:
            return
        for sink in self._sinks:
            sink.start()
        self._inside, self._rows, self._current = True, set(), self._ids.before(args, kwargs)

    def observe(self, name: str, value: Tensor, mask: Tensor | None) -> None:
        """Take in one value of tap ``name``."""
        if self._closed:
            return
        self.passed = True
        self._rows.add(len(value) if value.dim() else 1)
        for sink in self._sinks if self._inside else [self._statistics]:
            sink.observe(name, self.taps[name], value, mask)
        if not self._inside:
            self._statistics.start()  # no forward, no samples

    def finish(self) -> None:
        """A forward of the model has ended."""
        if self._closed or not self._inside:
            return
        self._inside = False
        if not self._rows:
            return
        if self._numbered and self._current is None and len(self._rows - {1}) > 1:
            self._give_up_samples()
            return
        ids = self._ids.after(max(self._rows)) if self._current is None else self._current
        if not ids:
            for sink in self._sinks:
                sink.start()
            return
        for sink in self._sinks:
            sink.finish(ids)

    def _give_up_samples(self) -> None:
        """Gates of one forward saw batches of different sizes, so no number says which sample is which."""
        for sink in self._sinks:
            sink.start()
        if not self._warned:
            self._warned = True
            sizes = ", ".join(map(str, sorted(self._rows)))
            warnings.warn(
                f"gates of one forward saw batches of {sizes} samples, so they belong to no numbered sample; statistics"
                " of taps count them all. Select the taps of one kind of sample to record samples",
                stacklevel=2,
            )

    def close(self) -> None:
        """Take nothing in any more."""
        self._closed = True

    def _shares(self) -> list[TapShare]:
        drawn = {name: subsample.draw() for name, subsample in self._statistics.subsamples.items()}
        states = fetch_states(self._statistics.moments)
        return [TapShare.of(name, self.taps[name], state, drawn.get(name)) for name, state in states.items()]

    def _keep(self, ids: Sequence[Any], values: list[TapValues]) -> None:
        for row, sample in enumerate(hashable(ids)):
            held = self._values.setdefault(sample, {})
            for found in values:
                # a sample that comes again replaces what it gave before
                held[found.name] = [*held.get(found.name, [])[: found.pass_index], found.sample(row)]
