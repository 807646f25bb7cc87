"""Per-sample gate values of an evaluation on disk: what ``tools/test.py --gate-log`` attaches."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, collect_results, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.avigate import AVIGATE
from gatefuse_plugins.hosts.avigate.sets import tensors_of
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.fusion_taps import fusion_taps, gating_type
from gatefuse_plugins.recording.log_parts import check_count, check_log_path, log_path, samples_to_log
from gatefuse_plugins.recording.log_writer import GateLogWriter
from gatefuse_plugins.recording.own_pairs import OwnPairs, record_own_pairs
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.recording import GateRecording
from gatefuse_plugins.recording.tap_hooks import refuse_compiled
from gatefuse_plugins.registry import HOOKS

ROW_KEYS = ("sample_index", "query_index")
"""Where the batches of moment and of composed retrieval say which rows of their data set they hold."""


@HOOKS.register_module()
class GateLogHook(Hook):
    """Write the gates of an evaluation's samples: JSON lines as QD-DETR-exp does, or a gate store.

    A sample of text-video retrieval is a video of the gallery with its first caption (see :func:`record_own_pairs`);
    the main process records those once the evaluation is done. A model without gates, or whose gates give no value per
    sample, is left alone, and that is said.

    Args:
        folder: where the log goes, as ``gate_logs_{split}_N{count}.jsonl``; count ``all`` for -1.
        split: name of the split.
        sample_count: log the first so many samples of the data set; -1: all.
        save_path: the log itself; a name that does not end in ``.jsonl`` is the folder of a gate store (float16, some
            fifteen times smaller; see ``storage.py``), under data parallelism with a folder ``rankN`` for each rank
            that records.

    Raises:
        ConfigError: ``sample_count`` is neither -1 nor from 1.
    """

    priority = "VERY_HIGH"

    def __init__(self, folder: str, split: str = "test", sample_count: int = -1, save_path: str | None = None) -> None:
        check_count(sample_count, "gate log sample_count")
        self.folder, self.split, self.sample_count, self.save_path = folder, split, sample_count, save_path
        self._scope = contextlib.ExitStack()
        self._gates: GateRecording | None = None
        self._log: GateLogWriter | None = None
        self._pairs: OwnPairs | None = None
        self._predictions: list[dict[str, Tensor]] = []

    def before_test_epoch(self, runner: Runner) -> None:
        """Attach to the gates, if there are any."""
        self._scope.close()
        self._gates, self._log, self._pairs, self._predictions = None, None, None, []
        model = unwrapped(runner.model, compiled=True)
        taps = fusion_taps(model)
        if not taps:
            runner.logger.info(f"--gate-log: {type(model).__name__} has no gates; nothing is logged")
            return
        dataset: Any = runner.test_dataloader.dataset
        info = getattr(dataset, "metainfo", {})
        if isinstance(model, AVIGATE):
            refuse_compiled(model, taps)  # now, not after the evaluation
            self._pairs = OwnPairs.of(info)
            names: Sequence[tuple[Any, Any]] = [(name, name) for name in self._pairs.names]
        elif (rows := info.get("annotations", info.get("reference"))) is not None:
            names = [describe(info, row) for row in range(len(rows))]
        else:
            runner.logger.info(
                f"--gate-log: a {type(dataset).__name__} has no samples of one forward; nothing is logged"
            )
            return
        path = log_path(self.folder, self.split, self.sample_count, len(names), self.save_path)
        names = names[: samples_to_log(self.sample_count, len(names))]
        if self._pairs is None:
            self._log = GateLogWriter(path, taps, names, gating_type(model))
            scope = record_gates(model, list(taps), "moments", _unnamed, [self._log.sink], warn=False)  # said below
            self._gates = self._scope.enter_context(scope)
        elif is_main_process():
            self._log = GateLogWriter(path, taps, names, gating_type(model), shared=False)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the recording which rows of the data set come next."""
        if self._gates is not None and self._log is not None:
            if self._log.full:
                self._scope.close()  # all that was asked for is there; the evaluation goes on without hooks
            key = next((key for key in ROW_KEYS if key in data_batch), None)
            self._gates.set_sample_ids(data_batch[key] if key else [])

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep what pairs are made of."""
        if self._pairs is not None:
            self._predictions += map(tensors_of, outputs)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Detach, record pairs, and write the log."""
        self._scope.close()
        of_pairs = "" if self._pairs is None else self._record_pairs(runner)
        log, self._log, self._gates = self._log, None, None
        if log is None:
            return
        if logged := log.close():
            runner.logger.info(f"gates of {logged} samples written to {log.path}{of_pairs}")
        else:
            runner.logger.info(
                "--gate-log: no gate gave values per sample in a forward of the model; nothing is logged"
            )

    def _record_pairs(self, runner: Runner) -> str:
        """Fill the log in the main process, for all; returns what its samples are."""
        assert self._pairs is not None
        own, self._predictions = self._predictions, []
        scratch = str(Path(self.folder) / ".gate_log_predictions")  # removed by mmengine
        predictions = collect_results(own, len(own) * get_world_size(), tmpdir=scratch)  # None but in the main process
        barrier()  # a next evaluation of another process would write to the same place
        model = unwrapped(runner.model, compiled=True)
        assert isinstance(model, AVIGATE)
        if self._log is not None and predictions is not None:
            rows = range(samples_to_log(self.sample_count, len(self._pairs)))
            record_own_pairs(model, list(fusion_taps(model)), self._pairs, predictions, rows, self._log.sink)
        if model.text_conditioned:
            return ": each video with its first caption alone, since these gates see the text"
        return ": each video once, whatever the text"


def requested_gate_log(args: argparse.Namespace, cfg: Config) -> GateLogHook | None:
    """The hook of ``--gate-log`` and the flags beside it, with ``cfg``'s work dir and split; ``None`` without the flag.

    Raises:
        ConfigError: a flag beside it is given without it or is out of range; or the path is taken, by a gate store
            that holds samples or by a file that stands where a folder has to.
    """
    count, path = getattr(args, "gate_sample_count", None), getattr(args, "gate_save_path", None)
    if not getattr(args, "gate_log", False):
        given = {"--gate-sample-count": count, "--gate-save-path": path}
        stray = " ".join(f"{flag} {value}" for flag, value in given.items() if value is not None)
        if stray:
            raise ConfigError(f"{stray}: nothing is logged; add --gate-log")
        return None
    split = args.split or cfg.test_dataloader.dataset.get("split") or "test"
    if path is not None:
        check_log_path(path)
    return GateLogHook(cfg.work_dir, split, -1 if count is None else count, path)


def describe(info: Mapping[str, Any], row: int) -> tuple[Any, Any]:
    """``qid`` and ``vid`` of a row; of composed retrieval: its pair id (or row) and the reference image."""
    if "annotations" in info:
        annotation = info["annotations"][row]
        return annotation["qid"], annotation["vid"]
    pair = info.get("pairid")
    reference = info["gallery"][int(info["reference"][row])]
    return row if pair is None else int(pair[row]), reference


def _unnamed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Rows are given batch by batch; a forward outside a batch belongs to no sample."""
    return []
