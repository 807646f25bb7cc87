"""Gates of a model on its test set: recorded into a gate store, beside how well the model does on every sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import nn

from gatefuse_plugins.analysis.gates.data import Sample, SampleId
from gatefuse_plugins.analysis.gates.evaluate import AfterBatch, evaluate_outcomes
from gatefuse_plugins.analysis.gates.outcomes import Outcomes
from gatefuse_plugins.analysis.gates.sources import StoreGateData, described
from gatefuse_plugins.analysis.gates.sources_pairs import record_pairs
from gatefuse_plugins.data.base import ComposedRetrievalDataset
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.hosts.avigate import AVIGATE
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.gate_log_hook import ROW_KEYS, describe
from gatefuse_plugins.recording.recorder import find_taps, record_gates
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import ValuesSink


@dataclass(frozen=True)
class Recorded:
    """
    Attributes:
        data: gates of the test set.
        rows: row of the data set of each sample, by id.
        warnings: what a reader of the figures has to know.
    """

    data: StoreGateData
    rows: Mapping[SampleId, int]
    warnings: tuple[str, ...]


def record_runner(runner: Runner, folder: str | Path, origin: str, select: str | Sequence[str] = "**") -> Recorded:
    """Run the test set once, without hooks: nothing is logged and no metric or submission written.

    A sample is a query of moment or composed retrieval. Text-video retrieval: see :func:`record_pairs`.

    Args:
        runner: with a model whose gates are taps, in one process.
        folder: of the gate store that is written, new or empty.
        origin: see :class:`GateData`.
        select: dotted glob or globs over tap names.

    Raises:
        PatternError: ``select`` (other than ``**``) matches no gate.
        DataError: the test set cannot be read, or holds no samples of one forward.
        GatefuseError: gates of one forward see batches of different samples; select those of one kind of sample.
    """
    model = unwrapped(runner.model)
    taps = find_taps(model, select)
    if isinstance(model, AVIGATE):
        data, rows, warnings = record_pairs(runner, model, taps, folder, origin, outcomes_or_warning)
        return Recorded(data, rows, warnings)
    dataset: Any = runner.test_loop.dataloader.dataset
    names = _names(dataset)
    with GateStoreWriter(folder, taps) as writer:
        sink = ValuesSink(writer.append, half=True)
        with record_gates(model, list(taps) or "**", "moments", _ids_of(names), [sink], warn=False) as recording:
            found, warnings = outcomes_or_warning(runner)
    if taps and not recording.summary():
        warnings += ("No gate gave a value: the test set passes none of them.",)
    samples = described(
        Sample(one, str(vid), _query(dataset, row), found.get(row, {})) for row, (one, vid) in enumerate(names)
    )
    rows = {one: row for row, (one, _) in enumerate(names)}
    data = StoreGateData(folder, samples, origin)
    return Recorded(data, rows, warnings + data.warnings)


def outcomes_or_warning(
    runner: Runner, after_batch: AfterBatch | None = None
) -> tuple[dict[int, dict[str, float]], tuple[str, ...]]:
    """Outcomes by row of the data set, empty where none are known, and why.

    Raises:
        DataError: the pass over the test set failed.
    """
    passed = []

    def count(number: int, batch: Any, outputs: Any) -> None:
        passed.append(number)
        if after_batch is not None:
            after_batch(number, batch, outputs)

    try:
        return by_row(evaluate_outcomes(runner, count)), ()
    except DataError as error:
        if len(passed) < len(runner.test_loop.dataloader):
            raise
        return {}, (f"Outcomes of samples are unknown: {error}.",)


def by_row(outcomes: Outcomes) -> dict[int, dict[str, float]]:
    """Figures of each sample; those that it lacks are left out, and those of kinds of samples, which repeat them."""
    names = [name for name in outcomes.figures if name.rpartition("/")[2] not in outcomes.figures or "/" not in name]
    table = np.array([outcomes.figures[name] for name in names])
    return {
        row: {name: float(value) for name, value in zip(names, table[:, row], strict=True) if np.isfinite(value)}
        for row in range(len(outcomes))
    }


def _names(dataset: Any) -> list[tuple[Any, Any]]:
    """Id and video (or reference image) of every row."""
    info: Mapping[str, Any] = getattr(dataset, "metainfo", {})
    rows = info.get("annotations", info.get("reference"))
    if rows is None:
        raise DataError(
            f"a {type(dataset).__name__} has no samples of one forward; expected moment, composed or text-video"
            " retrieval"
        )
    return [describe(info, row) for row in range(len(rows))]


def _query(dataset: Any, row: int) -> str | None:
    if isinstance(dataset, ComposedRetrievalDataset):
        return str(dataset.caption(row))
    return str(dataset.metainfo["annotations"][row]["query"])


def _ids_of(names: Sequence[tuple[Any, Any]]) -> Any:
    """Ids of a forward from its arguments; a forward that names no rows belongs to no sample."""

    def ids(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        key = next((key for key in ROW_KEYS if key in kwargs), None)
        return [names[int(row)][0] for row in kwargs[key]] if key else []

    return ids


def record_loader(
    model: nn.Module, loader: Any, folder: str | Path, origin: str, select: str | Sequence[str] = "**"
) -> Recorded:
    """Run any model with taps over any loader of batches.

    A batch is a mapping of the forward's arguments by name, where ``sample_id`` (a list, not handed on) names its
    samples; or the one argument of the forward. Samples without an id are numbered.

    Raises:
        PatternError: ``select`` (other than ``**``) matches no gate.
        GatefuseError: ids do not fit a batch.
    """
    taps = find_taps(model, select)
    training = model.training
    model.eval()
    try:
        with GateStoreWriter(folder, taps) as writer:
            sink = ValuesSink(writer.append, half=True)
            with record_gates(model, list(taps) or "**", "moments", None, [sink]) as recording:
                for batch in loader:
                    given = dict(batch) if isinstance(batch, Mapping) else {}
                    if (ids := given.pop("sample_id", None)) is not None:
                        recording.set_sample_ids(ids)
                    with torch.no_grad():
                        model(**given) if isinstance(batch, Mapping) else model(batch)
    finally:
        model.train(training)
    data = StoreGateData(folder, None, origin)
    return Recorded(data, {sample.id: row for row, sample in enumerate(data.samples)}, data.warnings)
