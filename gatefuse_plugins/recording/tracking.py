"""Gate tracking under the names that users of QD-DETR-exp know (``avigate_custom.py``, branch ``gate_analysis``).

>>> tracker = GateTracker(model)           # there: the fusion tracked itself, model.avigate_fusion
>>> tracker.enable_gate_tracking()
>>> tracker.set_current_sample_id("q1")
>>> model(batch)
>>> tracker.gate_history["q1"]["attention_gates"][0]
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import nn

from gatefuse_plugins.errors import DataError, GatefuseError, suggestion
from gatefuse_plugins.files import write_json
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.array_statistics import array_statistics, file_name
from gatefuse_plugins.recording.fusion_taps import fusion_taps, gating_type
from gatefuse_plugins.recording.gate_history import history_of
from gatefuse_plugins.recording.jsonlines import granularity
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.sample_ids import hashable
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink


class GateTracker:
    """Keeps every gate value of every sample in memory; for a look at some samples, not for whole data sets.

    Args:
        model: a host, its fusion, or an adapted model.

    Attributes:
        track_gates: whether values are taken in.
        gate_history: id to dict(``sample_id``, ``attention_gates``, ``ffn_gates``, ``layer_info``): a list over layers
            of float32 arrays (1, rows, width) of valid positions, empty where a layer has no such gate; other kinds as
            ``KIND_gates``. An id that stands for a batch of several samples has (B, rows, width), NaN at padding.
        current_sample_id: id of the next forward's sample; a list or tuple: one for each sample of the batch. It
            stays until it is set again, and its values are then replaced. ``None``: samples are numbered.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = unwrapped(model)
        self.track_gates = False
        self.gate_history: dict[Any, dict[str, Any]] = {}
        self.current_sample_id: Any = None
        self.gating_type = gating_type(self.model)
        self._scope = contextlib.ExitStack()
        self._numbered = 0

    def enable_gate_tracking(self) -> None:
        """Attach to the gates and begin with an empty history; says so where the model has none."""
        self.disable_gate_tracking()
        self.gate_history, self._numbered = {}, 0
        taps = fusion_taps(self.model)
        if not taps:
            print_log(f"{type(self.model).__name__} has no gates to track", "current")
            return
        sink = ValuesSink(self._take)
        self._scope.enter_context(record_gates(self.model, list(taps), reduce="moments", sinks=[sink]))
        self.track_gates = True

    def disable_gate_tracking(self) -> None:
        """Detach; the history stays."""
        self._scope.close()
        self.track_gates = False

    def set_current_sample_id(self, sample_id: Any) -> None:
        """See ``current_sample_id``."""
        self.current_sample_id = sample_id

    def get_gate_statistics(self, sample_id: Any = None) -> dict[Any, dict[str, Any]] | None:
        """By id (or of one id): ``attention_stats`` and ``ffn_stats``, a list over layers of dict(mean, std, min, max,
        shape), and ``layer_info``; ``None`` where nothing was tracked.

        Raises:
            DataError: ``sample_id`` is unknown.
        """
        if not self.gate_history:
            return None
        chosen = list(self.gate_history) if sample_id is None else [sample_id]
        statistics = {}
        for one in chosen:
            held = self.sample(one)
            short = {
                f"{kind}_stats": [_brief(gates) for gates in held[f"{kind}_gates"]] for kind in ("attention", "ffn")
            }
            statistics[one] = short | {"layer_info": held["layer_info"]}
        return statistics

    def print_gate_summary(self, sample_id: Any = None) -> None:
        """Print the statistics of each sample, or of one."""
        statistics = self.get_gate_statistics(sample_id)
        if statistics is None:
            print("No gate statistics available.")
            return
        for one, found in statistics.items():
            print(f"\n=== Sample {one}: {self.gating_type} gates, {len(found['attention_stats'])} layers ===")
            for layer, pair in enumerate(zip(found["attention_stats"], found["ffn_stats"], strict=True)):
                for kind, figures in zip(("attention", "ffn"), pair, strict=True):
                    if figures["mean"] is not None:
                        print(
                            f"layer {layer} {kind:9s} mean {figures['mean']:.4f}  std {figures['std']:.4f}  range"
                            f" [{figures['min']:.4f}, {figures['max']:.4f}]  shape {tuple(figures['shape'])}"
                        )

    def save_gate_analysis(self, save_dir: str | Path, sample_id: Any = None) -> Path | None:
        """Write the statistics as ``gate_statistics_{id or all}.json``; returns the file, ``None`` without data."""
        statistics = self.get_gate_statistics(sample_id)
        if statistics is None:
            print("No gate statistics available.")
            return None
        path = Path(save_dir) / f"gate_statistics_{'all' if sample_id is None else file_name(sample_id)}.json"
        write_json(path, {str(one): found for one, found in statistics.items()})
        return path

    def compare_samples_gates(
        self, sample_ids: Sequence[Any], save_dir: str | Path | None = None
    ) -> dict[Any, dict[str, list[float | None]]]:
        """Means by layer, ``att_means`` and ``ffn_means``, of each sample; also as ``gate_comparison.json``.

        Raises:
            DataError: an id is unknown.
        """
        means = {
            one: {
                key: [_brief(gates)["mean"] for gates in self.sample(one)[f"{kind}_gates"]]
                for key, kind in (("att_means", "attention"), ("ffn_means", "ffn"))
            }
            for one in sample_ids
        }
        if save_dir is not None:
            write_json(Path(save_dir) / "gate_comparison.json", {str(one): found for one, found in means.items()})
        return means

    def sample(self, sample_id: Any) -> dict[str, Any]:
        """The history of one sample; DataError where there is none."""
        if sample_id not in self.gate_history:
            raise DataError(f"no gates of {sample_id!r}{suggestion(str(sample_id), map(str, self.gate_history))}")
        return self.gate_history[sample_id]

    def _take(self, numbers: Sequence[Any], values: list[TapValues]) -> None:
        size, given = len(numbers), self.current_sample_id
        if self.gating_type is None:
            self.gating_type = granularity([found.values.shape[1:] for found in values])
        if isinstance(given, list | tuple):
            if len(given) != size:
                raise GatefuseError(f"current_sample_id holds {len(given)} ids, and the batch {size} samples")
            ids = list(hashable(given))
        elif given is None:
            ids = self._numbers(size)
        else:
            hashable([given])
            self.gate_history[given] = history_of(given, values, slice(None), self.gating_type)
            return
        for row, one in enumerate(ids):
            self.gate_history[one] = history_of(one, values, slice(row, row + 1), self.gating_type)

    def _numbers(self, size: int) -> list[str]:
        if not self._numbered:
            message = (
                "gates of samples without an id are kept as sample_0, sample_1, ...; set_current_sample_id names them"
            )
            print_log(message, "current", logging.WARNING)
        start, self._numbered = self._numbered, self._numbered + size
        return [f"sample_{number}" for number in range(start, self._numbered)]


def _brief(gates: NDArray[np.float32]) -> dict[str, Any]:
    found = array_statistics(gates)
    return {key: found[key] for key in ("mean", "std", "min", "max", "shape")}
