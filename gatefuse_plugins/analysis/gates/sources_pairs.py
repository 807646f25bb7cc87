"""Gates of text-video retrieval: a sample is a video of the gallery with its first caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from torch import Tensor

from gatefuse_plugins.analysis.gates.data import Sample, SampleId
from gatefuse_plugins.analysis.gates.sources import StoreGateData, described
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.hosts.avigate import AVIGATE
from gatefuse_plugins.hosts.avigate.sets import tensors_of
from gatefuse_plugins.recording.own_pairs import OwnPairs, record_own_pairs
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import ValuesSink

OutcomesOf = Callable[[Runner, Any], tuple[dict[int, dict[str, float]], tuple[str, ...]]]


def record_pairs(
    runner: Runner, model: AVIGATE, taps: Mapping[str, GateTap], folder: str | Path, origin: str, outcomes: OutcomesOf
) -> tuple[StoreGateData, dict[SampleId, int], tuple[str, ...]]:
    """Gates of :func:`record_own_pairs`; the outcomes of a sample are its caption's."""
    parts: list[dict[str, Tensor]] = []
    found, warnings = outcomes(runner, lambda number, batch, outputs: parts.extend(map(tensors_of, outputs)))
    info = runner.test_loop.dataloader.dataset.metainfo
    pairs, captions = OwnPairs.of(info), info["captions"]
    rows: dict[SampleId, int] = dict(zip(pairs.names, pairs.texts.tolist(), strict=True))
    with GateStoreWriter(folder, taps) as writer:
        sink = ValuesSink(writer.append, half=True)
        passed = record_own_pairs(model, list(taps), pairs, parts, pairs.names, sink)
    if taps and not passed:
        warnings += ("No gate gave a value: the test set passes none of them.",)
    if model.text_conditioned:
        warnings += (
            f"The gates of this model see the text, so a video has other gates with each of {len(captions)}"
            " captions. Recorded is each video with its own first caption; the gates of all other pairs belong to no"
            " sample and are in no figure here.",
        )
    samples = described(Sample(name, str(name), str(captions[row]), found.get(row, {})) for name, row in rows.items())
    return StoreGateData(folder, samples, origin), rows, warnings
