"""The gates of an evaluation by QD-DETR's own script, sample by sample, in the format of QD-DETR-exp."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import nn

from gatefuse_plugins.recording.fusion_taps import fusion_taps, gating_type
from gatefuse_plugins.recording.jsonlines import entry_of, to_line
from gatefuse_plugins.recording.log_parts import (
    LogPart,
    check_count,
    check_log_path,
    join_parts,
    log_path,
    samples_to_log,
)
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink


@contextlib.contextmanager
def write_gates(
    model: nn.Module,
    samples: Sequence[Mapping[str, Any]],
    folder: str | Path,
    split: str,
    count: int = -1,
    path: str | None = None,
) -> Iterator[None]:
    """Log the gates of whatever runs in the scope; it must take ``samples`` in their order.

    An error in the scope keeps what was logged so far. A model without gates is left alone, and that is said.

    Args:
        model: called once a batch.
        samples: annotations with ``qid`` and ``vid``.
        folder: where the log goes, as ``gate_logs_{split}_N{count}.jsonl``; count ``all`` for -1.
        count: log the first so many samples.
        path: the log itself; a name that does not end in ``.jsonl`` is the folder of a gate store.

    Raises:
        ConfigError: ``count`` is neither -1 nor from 1.
        DataError: the log cannot be written there.
    """
    check_count(count, "--gate_sample_count")
    taps = fusion_taps(model)
    if not taps:
        print_log(f"--gate_log: {type(model).__name__} has no gates; nothing is logged", "current")
        yield
        return
    limit = samples_to_log(count, len(samples))
    log = log_path(folder, split, count, len(samples), path)
    check_log_path(log, "--gate_save_path")
    logged = 0
    with contextlib.ExitStack() as scope:
        taker = _lines(scope, log, model, samples) if log.suffix == ".jsonl" else _store(scope, log, taps, samples)

        def take(rows: Sequence[Any], values: list[TapValues]) -> None:
            nonlocal logged
            wanted = [at for at, row in enumerate(rows) if int(row) < limit]
            logged += len(wanted)
            if wanted:
                taker([int(rows[at]) for at in wanted], [found.take(wanted) for found in values])

        sink = ValuesSink(take, half=log.suffix != ".jsonl")
        with record_gates(model, list(taps), reduce="moments", sinks=[sink]):
            yield
    if logged:
        print_log(f"gates of {logged} samples written to {log}", "current")
    else:
        print_log("--gate_log: no gate gave values per sample in a forward of the model; nothing is logged", "current")


def _lines(scope: contextlib.ExitStack, log: Path, model: nn.Module, samples: Sequence[Mapping[str, Any]]) -> Any:
    part, gating = LogPart(log, 0), gating_type(model)
    scope.callback(lambda: join_parts(log, 1, write=part.lines > 0))
    scope.callback(part.close)

    def take(rows: list[int], values: list[TapValues]) -> None:
        for at, row in enumerate(rows):
            sample = samples[row]
            part.add(row, to_line(entry_of(values, at, sample["qid"], sample["vid"], gating)))

    return take


def _store(scope: contextlib.ExitStack, folder: Path, taps: Any, samples: Sequence[Mapping[str, Any]]) -> Any:
    writer = scope.enter_context(GateStoreWriter(folder, taps))
    return lambda rows, values: writer.append([samples[row]["qid"] for row in rows], values)
