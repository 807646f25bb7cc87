"""Per-sample gate values of an evaluation on disk: what ``tools/test.py --gate-log`` attaches."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, barrier, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.distributed import unwrapped
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
from gatefuse_plugins.recording.recording import GateRecording
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink
from gatefuse_plugins.registry import HOOKS

ROW_KEYS = ("sample_index", "query_index")
"""Where the batches of moment and of composed retrieval say which rows of their data set they hold."""


@HOOKS.register_module()
class GateLogHook(Hook):
    """Write the gates of an evaluation's samples: JSON lines as QD-DETR-exp does, or a gate store.

    A model without gates, or whose gates give no value per sample, is left alone, and that is said.

    Args:
        folder: where the log goes, as ``gate_logs_{split}_N{count}.jsonl``; count ``all`` for -1.
        split: name of the split.
        sample_count: log the first so many samples of the data set; -1: all.
        save_path: the log itself; a name that does not end in ``.jsonl`` is the folder of a gate store (float16, some
            fifteen times smaller; see ``storage.py``), under data parallelism with a folder ``rankN`` for each rank.

    Raises:
        ConfigError: ``sample_count`` is neither -1 nor from 1.
    """

    priority = "VERY_HIGH"

    def __init__(self, folder: str, split: str = "test", sample_count: int = -1, save_path: str | None = None) -> None:
        check_count(sample_count, "gate log sample_count")
        self.folder, self.split, self.sample_count, self.save_path = folder, split, sample_count, save_path
        self._scope = contextlib.ExitStack()
        self._gates: GateRecording | None = None
        self._part: LogPart | None = None
        self._store: GateStoreWriter | None = None
        self._info: Mapping[str, Any] = {}
        self._gating: str | None = None
        self._path, self._limit, self._logged = Path(), 0, 0

    def before_test_epoch(self, runner: Runner) -> None:
        """Attach to the gates, if there are any."""
        self._scope.close()
        model = unwrapped(runner.model, compiled=True)
        taps = fusion_taps(model)
        if not taps:
            runner.logger.info(f"--gate-log: {type(model).__name__} has no gates; nothing is logged")
            return
        dataset: Any = runner.test_dataloader.dataset
        self._info, self._gating, self._logged = getattr(dataset, "metainfo", {}), gating_type(model), 0
        rows = self._info.get("annotations", self._info.get("reference"))
        if rows is None:
            runner.logger.info(
                f"--gate-log: a {type(dataset).__name__} has no samples of one forward; nothing is logged;"
                " tools/analyze_gates.py records each video with its caption"
            )
            return
        self._limit = samples_to_log(self.sample_count, len(rows))
        self._path = path = log_path(self.folder, self.split, self.sample_count, len(rows), self.save_path)
        if path.suffix == ".jsonl":
            self._part = LogPart(path, get_rank())
        else:
            self._store = GateStoreWriter(path / f"rank{get_rank()}" if get_world_size() > 1 else path, taps)
        sink = ValuesSink(self._take, half=self._store is not None)
        scope = record_gates(model, list(taps), "moments", _unnamed, [sink], warn=False)  # said below
        self._gates = self._scope.enter_context(scope)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the recording which rows of the data set come next."""
        if get_world_size() == 1 and self._logged >= self._limit:
            self._scope.close()  # all that was asked for is there; the evaluation goes on without hooks
        if self._gates is not None:
            key = next((key for key in ROW_KEYS if key in data_batch), None)
            self._gates.set_sample_ids(data_batch[key] if key else [])

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Detach and write the log."""
        self._scope.close()
        if self._gates is None:
            return
        self._gates = None
        if self._store is not None:
            self._store.close()
            self._store = None
        logged = torch.tensor(self._logged)
        all_reduce(logged)
        part, self._part = self._part, None
        if part is not None:
            part.close()
            barrier()  # every rank's part is whole
            if is_main_process():
                join_parts(self._path, get_world_size(), write=bool(logged))
        if logged:
            runner.logger.info(f"gates of {min(int(logged), self._limit)} samples written to {self._path}")
        else:
            runner.logger.info(
                "--gate-log: no gate gave values per sample in a forward of the model; nothing is logged"
            )

    def _take(self, rows: Sequence[Any], values: list[TapValues]) -> None:
        wanted = [(at, int(row)) for at, row in enumerate(rows) if int(row) < self._limit]
        if not wanted:
            return
        names = [describe(self._info, row) for _, row in wanted]
        self._logged += len(wanted)
        if self._store is not None:
            chosen = [at for at, _ in wanted]
            self._store.append([qid for qid, _ in names], [found.take(chosen) for found in values])
        if self._part is not None:
            for (at, row), (qid, vid) in zip(wanted, names, strict=True):
                self._part.add(row, to_line(entry_of(values, at, qid, vid, self._gating)))


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
