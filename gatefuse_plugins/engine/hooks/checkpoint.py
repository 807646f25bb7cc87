"""Checkpoints that survive a full disk, a kill at any moment and a run that turned bad."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from gatefuse_plugins.engine.file_backend import BACKEND_NAME, AtomicBackend, check_writable
from gatefuse_plugins.engine.resume import POINTER
from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` by steps, which at no moment leaves less than one good checkpoint.

    mmengine deletes outdated and formerly best checkpoints *before* it writes their successors, and overwrites
    files in place. Here every file (``last_checkpoint`` included) is written beside its target and renamed, and
    deletion comes last. Training always ends in a checkpoint, also where it stops early.

    Args:
        interval: optimisation steps between checkpoints.
        max_keep_ckpts: ``iter_N.pth`` files to keep, -1 for all.
        save_best: validation metric by which ``best_METRIC_iter_N.pth`` (weights only) is chosen.
        rule: ``greater`` or ``less`` is better.
        by_epoch: accepted for mmengine's signature; only False.
        **options: further arguments of mmengine's hook (``save_begin``, ``out_dir``, ...).

    Raises:
        ConfigError: by_epoch, a list of metrics, ``max_keep_ckpts`` of 0, or (before training) a work dir that
            cannot be written or an interval that would cut an accumulation of gradients.
        CheckpointError: a file cannot be written; earlier files are intact.
    """

    file_backend: AtomicBackend
    best_ckpt_path: str | None

    def __init__(
        self,
        interval: int,
        max_keep_ckpts: int = 2,
        save_best: str | None = None,
        rule: str = "greater",
        by_epoch: bool = False,
        **options: Any,
    ) -> None:
        if by_epoch:
            raise ConfigError("SafeCheckpointHook.by_epoch: expected False; give interval in steps")
        if max_keep_ckpts == 0 or max_keep_ckpts < -1:
            raise ConfigError(f"SafeCheckpointHook.max_keep_ckpts: expected 1 or more, or -1, got {max_keep_ckpts}")
        if save_best is not None and not isinstance(save_best, str):
            raise ConfigError(f"SafeCheckpointHook.save_best: expected the name of one metric, got {save_best!r}")
        super().__init__(
            interval=interval,
            by_epoch=False,
            max_keep_ckpts=max_keep_ckpts,
            save_best=save_best,
            rule=rule if save_best else None,
            backend_args={"backend": BACKEND_NAME},
            **options,
        )
        self._saved_at: tuple[int, int] | None = None

    def before_run(self, runner: Runner) -> None:
        """Refuse a work dir that cannot be written before any time is spent."""
        if is_main_process():
            check_writable(runner.work_dir)

    def before_train(self, runner: Runner) -> None:
        """Find the output directory and clear what a killed run left half written."""
        accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
        if accumulated > 1 and self.interval % accumulated:
            raise ConfigError(
                f"SafeCheckpointHook.interval: {self.interval} is no multiple of accumulative_counts={accumulated}; "
                "a checkpoint would lose accumulated gradients"
            )
        runner.logger.addFilter(_without_old_names)
        super().before_train(runner)
        self._saved_at = (runner.epoch, runner.iter)
        if is_main_process():
            for leftover in Path(self.out_dir).glob(".*.pth.*.tmp"):
                leftover.unlink(missing_ok=True)

    def after_train(self, runner: Runner) -> None:
        """Save the final state, counters past the last validation, unless it is saved already."""
        if self._saved_at != (runner.epoch, runner.iter):
            meta = {"epoch": runner.epoch, "iter": runner.iter}
            self._save_checkpoint_with_step(runner, runner.iter, meta)
        super().after_train(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        outdated = self._outdate(runner, step)
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=False,
            backend_args=self.backend_args,
        )
        self._saved_at = (meta["epoch"], meta["iter"])
        if is_main_process():
            self.file_backend.put_text(self.last_ckpt, Path(runner.work_dir) / POINTER)
            for path in outdated:
                path.unlink(missing_ok=True)

    def _outdate(self, runner: Runner, step: int) -> list[Path]:
        """Enter ``step`` among the checkpoints to keep; returns the files that may go once it is written."""
        if self.max_keep_ckpts < 0 or (self.keep_ckpt_ids and self.keep_ckpt_ids[-1] == step):
            return []
        outdated = [self.keep_ckpt_ids[0]] if len(self.keep_ckpt_ids) == self.max_keep_ckpts else []
        self.keep_ckpt_ids.append(step)  # a full deque drops its oldest entry
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        return [Path(self.out_dir) / self.filename_tmpl.format(old) for old in outdated]

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Note the validation in the message hub, so that checkpoints carry it, and save a new best.

        ``latest_validation`` and ``best_validation`` are dicts of ``step``, ``epoch`` and ``metrics``; the best one
        also has ``metric`` and ``score``. A validation outside of training (``Runner.val``) saves nothing.
        """
        if self._saved_at is None:
            return
        values = {name: float(value) for name, value in metrics.items() if value is not None}
        validation = {"step": runner.iter, "epoch": runner.epoch, "metrics": values}
        runner.message_hub.update_info("latest_validation", validation)
        super().after_val_epoch(runner, metrics)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        indicator = self.key_indicators[0]
        if indicator not in metrics:
            raise ConfigError(
                f"SafeCheckpointHook.save_best: no metric {indicator!r} in the validation's results"
                + suggestion(indicator, metrics)
            )
        score = metrics[indicator]
        best = runner.message_hub.runtime_info.get("best_score", self.init_value_map[self.rules[0]])
        if score is not None and self.is_better_than[indicator](score, best):
            latest = runner.message_hub.get_info("latest_validation")
            named = {**latest, "metric": indicator, "score": float(score)}
            runner.message_hub.update_info("best_validation", named)
        previous: str | None = self.best_ckpt_path
        self.best_ckpt_path = None  # hides it from mmengine, which would delete it before the new one is written
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.best_ckpt_path = self.best_ckpt_path or previous
        if previous and self.best_ckpt_path != previous and is_main_process():
            Path(previous).unlink(missing_ok=True)


def _without_old_names(record: logging.LogRecord) -> bool:
    """mmengine warns of its own use of FileClient and HardDiskBackend, about which a user can do nothing."""
    return not record.getMessage().startswith(('"FileClient"', '"HardDiskBackend"'))
