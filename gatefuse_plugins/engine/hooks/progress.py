"""A progress bar with losses and remaining time, where somebody watches a terminal."""

from __future__ import annotations

import atexit
import logging
import sys
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Progress bar over all steps, with epoch, losses and time left; silent where stderr is no terminal.

    Args:
        interval: steps between readings of the losses (each waits for a CUDA device).
        console: where to draw; by default stderr.
    """

    priority = "LOW"

    def __init__(self, interval: int = 10, console: Console | None = None) -> None:
        self.interval = interval
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._handlers: list[tuple[logging.StreamHandler, Any]] = []

    def before_train(self, runner: Runner) -> None:
        """Show the bar at the resumed step."""
        if not (is_main_process() and self.console.is_terminal):
            return
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            redirect_stdout=sys.stdout.isatty(),  # what is piped elsewhere must arrive there
        )
        self._task = self._progress.add_task(
            "train", total=runner.max_iters, completed=runner.iter, epoch=runner.epoch + 1, losses=""
        )
        self._progress.start()
        self._reroute_logging(runner.logger)
        atexit.register(self.close)  # a run that raises reaches no further hook, and would leave no cursor

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Advance the bar."""
        if self._progress is None:
            return
        fields: dict[str, Any] = {"completed": runner.iter + 1, "epoch": runner.epoch + 1}
        if outputs and (self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)):
            losses = {name: value for name, value in outputs.items() if "loss" in name}
            fields["losses"] = "  ".join(f"{name} {_number(value):.3f}" for name, value in losses.items())
        self._progress.update(self._task, **fields)

    def after_train(self, runner: Runner) -> None:
        """Leave the finished bar on screen."""
        self.close()

    def close(self) -> None:
        """Stop drawing and give the log its streams back; may be called twice."""
        if self._progress is None:
            return
        self._progress.stop()
        self._progress = None
        for handler, stream in self._handlers:
            handler.setStream(stream)
        self._handlers = []
        atexit.unregister(self.close)

    def _reroute_logging(self, logger: logging.Logger) -> None:
        """Send log lines through rich, which prints them above the bar instead of into it."""
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler and handler.stream.isatty():
                self._handlers.append((handler, handler.stream))
                handler.setStream(sys.stderr)  # rich's proxy while the bar is shown


def _number(value: Any) -> float:
    return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)
