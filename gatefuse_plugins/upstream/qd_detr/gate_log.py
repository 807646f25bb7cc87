"""The gates of an evaluation by QD-DETR's own script, sample by sample, in the format of QD-DETR-exp."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import nn

from gatefuse_plugins.recording.fusion_taps import fusion_taps, gating_type
from gatefuse_plugins.recording.log_parts import check_count, check_log_path, log_path, samples_to_log
from gatefuse_plugins.recording.log_writer import GateLogWriter
from gatefuse_plugins.recording.recorder import record_gates


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
    path_of_log = log_path(folder, split, count, len(samples), path)
    check_log_path(path_of_log, "--gate_save_path")
    names = [(sample["qid"], sample["vid"]) for sample in samples[: samples_to_log(count, len(samples))]]
    log = GateLogWriter(path_of_log, taps, names, gating_type(model), shared=False)
    try:
        with record_gates(model, list(taps), reduce="moments", sinks=[log.sink]):
            yield
    finally:
        logged = log.close()
    if logged:
        print_log(f"gates of {logged} samples written to {log.path}", "current")
    else:
        print_log("--gate_log: no gate gave values per sample in a forward of the model; nothing is logged", "current")
