"""QD-DETR-exp's gate logs: read once, into a gate store that lives as long as it is looked at."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, SampleId
from gatefuse_plugins.analysis.gates.sources import StoreGateData
from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.gates.tap import TAP_KINDS, GateTap
from gatefuse_plugins.recording.jsonlines import GATE_KEYS, GateLogEntry, read_gate_log
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues

_KINDS = {key: kind for kind, key in GATE_KEYS.items()}
_BATCH = 64
Values = dict[str, NDArray[np.float32]]


class LogGateData(StoreGateData):
    """Gates of a log of JSON lines; its own ``gate_mha`` are of kind ``attention``, ``gate_ffn`` of kind ``ffn``.

    A log says nothing of ranges. They are taken from a gate's finite values: 0..1 where all lie in it (sigmoid), else
    -1..1 (tanh), else open; neutral is 0. Gates are named ``layer_N.KIND``.

    Args:
        path: of the log.
        limit: the first so many samples; -1: all.

    Attributes:
        warnings: what was wrong with the log and is left out.

    Raises:
        DataError: the log is missing or holds what is no sample; see :func:`read_gate_log`.
    """

    def __init__(self, path: str | Path, limit: int = -1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gatefuse_log_")  # removed with this object
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gates, samples, repeated = _convert(Path(path), limit, Path(self._folder.name))
        super().__init__(self._store_folder(gates), samples, f"gate log {path}", gates)
        self.warnings = tuple(str(one.message) for one in caught)  # in terms of lines, not of the store
        if repeated:
            self.warnings += (f"{path}: {repeated} lines repeat a qid; the last line of each was taken",)

    def _store_folder(self, gates: Mapping[str, GateInfo]) -> Path:
        folder = Path(self._folder.name) / f"store{len(gates)}"
        if not folder.exists():  # an empty log
            GateStoreWriter(folder, {}).close()
        return folder


def _convert(path: Path, limit: int, folder: Path) -> tuple[dict[str, GateInfo], dict[SampleId, Sample], int]:
    """Write a store in a folder below ``folder`` named by its number of gates; gates, samples, and repeated ids."""
    names: list[str] = []
    while True:
        ends: dict[str, tuple[float, float]] = dict.fromkeys(names, (np.inf, -np.inf))
        samples: dict[SampleId, Sample] = {}
        lines = 0
        taps = {name: _tap(name, path) for name in names}
        with GateStoreWriter(folder / f"store{len(names)}", taps) as writer:
            for batch in _batches(read_gate_log(path, limit)):
                if more := [name for _, values in batch for name in values if name not in taps]:
                    names = _in_order([*names, *more])
                    break  # a gate that no earlier sample has: begin again, with it
                writer.append([sample.id for sample, _ in batch], [_joined(taps, name, batch) for name in names])
                lines += len(batch)
                samples |= {sample.id: sample for sample, _ in batch}
                for _, values in batch:
                    for name, held in values.items():
                        ends[name] = _widened(ends[name], held)
            else:
                return _described(taps, ends), samples, lines - len(samples)


def _batches(entries: Iterable[GateLogEntry]) -> Iterator[list[tuple[Sample, Values]]]:
    """Samples with their gates by name; those of a batch agree in what follows the first dimension."""
    batch: list[tuple[Sample, Values]] = []
    trailing: dict[str, tuple[int, ...]] = {}
    for entry in entries:
        values = _named(entry)
        shapes = {name: held.shape[1:] for name, held in values.items()}
        alike = all(trailing.get(name, shape) == shape for name, shape in shapes.items())
        if batch and (len(batch) == _BATCH or not alike):
            yield batch
            batch, trailing = [], {}
        one = entry.qid if isinstance(entry.qid, int | str) else str(entry.qid)
        batch.append((Sample(one, None if entry.vid is None else str(entry.vid)), values))
        trailing |= shapes
    if batch:
        yield batch


def _named(entry: GateLogEntry) -> Values:
    found: Values = {}
    for layer, gates in enumerate(entry.layer_gates):
        for key, values in gates.items():
            if values.size:
                kind = _KINDS.get(key, key.removeprefix("gate_"))
                found[f"layer_{layer}.{kind}"] = values.reshape(-1, 1) if values.ndim < 2 else values
    return found


def _joined(taps: Mapping[str, GateTap], name: str, batch: list[tuple[Sample, Values]]) -> TapValues:
    """One gate of a batch, padded to its longest sample."""
    held = [values.get(name) for _, values in batch]
    shape = next((one.shape[1:] for one in held if one is not None), (1,))
    lengths = np.array([0 if one is None else len(one) for one in held])
    padded = np.zeros((len(batch), max(1, int(lengths.max())), *shape), np.float32)
    for row, one in enumerate(held):
        if one is not None:
            padded[row, : len(one)] = one
    return TapValues(name, taps[name], 0, padded, np.arange(padded.shape[1]) < lengths[:, None])


def _tap(name: str, path: Path) -> GateTap:
    layer, kind = name.split(".", 1)
    if kind not in TAP_KINDS:
        raise DataError(f"{path}: gates of kind {kind!r} (gate_{kind}) are unknown{suggestion(kind, TAP_KINDS)}")
    return GateTap(kind, None, None, layer=int(layer.removeprefix("layer_")))


def _in_order(names: list[str]) -> list[str]:
    """By layer; within one as they first came."""
    return sorted(dict.fromkeys(names), key=lambda name: int(name.split(".")[0].removeprefix("layer_")))


def _widened(ends: tuple[float, float], values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (min(ends[0], float(finite.min())), max(ends[1], float(finite.max()))) if finite.size else ends


def _described(taps: Mapping[str, GateTap], ends: Mapping[str, tuple[float, float]]) -> dict[str, GateInfo]:
    found = {}
    for name, tap in taps.items():
        low, high = ends[name]
        info = GateInfo(name, tap.kind, tap.layer, None, None, 0.0)
        if low >= -1 and high <= 1:
            info = replace(info, low=0.0 if low >= 0 else -1.0, high=1.0)
        found[name] = info
    return found
