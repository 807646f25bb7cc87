"""Write ``training_log.csv`` while training."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.engine.training_log import FIXED_COLUMNS, TrainingLog
from gatefuse_plugins.registry import HOOKS

GATE_PREFIX = "gates/"


@HOOKS.register_module()
class CSVLogHook(Hook):
    """One row every ``interval`` steps and one per validation, on disk as soon as it is known.

    Columns: ``step`` (optimisation steps done), ``epoch`` (from 1), ``split`` (``train`` or ``val``), ``seconds`` (wall
    time of training, summed over resumes), ``lr``, the losses (mean over the steps since the last multiple of
    ``interval``), the latest ``gates/...`` scalars of the runner's message hub, and the validation metrics. A resumed
    run drops the rows past its checkpoint and appends. A new run in an old work dir keeps the old log as
    ``training_log.previous.csv``.

    Args:
        interval: steps between training rows.
        filename: name of the file in the work dir.
    """

    priority = "BELOW_NORMAL"  # after hooks that put scalars into the message hub

    def __init__(self, interval: int = 10, filename: str = "training_log.csv") -> None:
        self.interval = interval
        self.filename = filename
        self._log: TrainingLog | None = None
        self._seconds_before = 0.0
        self._started = 0.0

    def before_train(self, runner: Runner) -> None:
        """Open the log at the resumed step."""
        if not is_main_process():
            return
        path = Path(runner.work_dir, self.filename)
        if runner.iter == 0 and path.exists():
            previous = path.with_name(f"{path.stem}.previous{path.suffix}")
            os.replace(path, previous)
            runner.logger.info(f"a new run starts here: the old {path.name} is kept as {previous.name}")
        self._log = TrainingLog(path)
        kept = [row for row in self._log.rows() if _is_done(row, runner)]
        if self._log.path.exists():
            self._log.keep(kept)
        self._seconds_before = float(kept[-1]["seconds"]) if kept else 0.0
        self._started = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Write a training row where one is due; the last step always gets one."""
        if self._log is None or not (
            self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)
        ):
            return
        step = runner.iter + 1
        window = (step - 1) % self.interval + 1
        scalars = {key.removeprefix("train/"): log for key, log in runner.message_hub.log_scalars.items()}
        row = {"lr": scalars["lr"].current()} if "lr" in scalars else {}
        row |= {key: log.mean(window) for key, log in scalars.items() if "loss" in key and "/" not in key}
        row |= {key: log.current() for key, log in scalars.items() if key.startswith(GATE_PREFIX)}
        self._append(self._log, (step, runner.epoch + 1, "train"), row)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the validation row."""
        if self._log is not None and metrics:
            self._append(self._log, (runner.iter, runner.epoch, "val"), metrics)

    def _append(self, log: TrainingLog, place: tuple[int, int, str], values: Mapping[str, Any]) -> None:
        seconds = self._seconds_before + time.monotonic() - self._started
        row: dict[str, Any] = dict(zip(FIXED_COLUMNS, (*place, f"{seconds:.2f}"), strict=True))
        row |= {key: f"{float(value):.6g}" for key, value in values.items()}
        log.append(row)


def _is_done(row: Mapping[str, str], runner: Runner) -> bool:
    """Whether ``row`` lies before the point where ``runner`` resumes (which may be ahead of a validation)."""
    if row["split"] == "val":
        return int(row["epoch"]) <= runner.epoch
    return int(row["step"]) <= runner.iter
