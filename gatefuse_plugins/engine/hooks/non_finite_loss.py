"""Stop a run whose loss became NaN or infinite, before it can overwrite good checkpoints."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.engine.resume import last_saved
from gatefuse_plugins.errors import NonFiniteLossError
from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Raise as soon as a loss term is NaN or infinite, and always before a checkpoint is written.

    Reading a loss off a CUDA device waits for it, so there the terms are kept and checked every ``interval`` steps;
    on the CPU every step. Weights are checked before each save too, since a finite loss can have a gradient that
    is not.

    Args:
        interval: steps between checks on CUDA.

    Raises:
        NonFiniteLossError: names the step, the terms with their values and the last good checkpoint.
    """

    priority = "HIGH"  # ahead of every hook that writes

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self._unchecked: list[tuple[int, dict[str, Any]]] = []

    def before_train(self, runner: Runner) -> None:
        """Forget the terms of an earlier run."""
        self._unchecked = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Keep the step's loss terms and check them where that costs nothing or is due."""
        terms = {name: value for name, value in (outputs or {}).items() if "loss" in name}
        self._unchecked.append((runner.iter + 1, terms))
        on_cuda = any(isinstance(value, torch.Tensor) and value.is_cuda for value in terms.values())
        if not on_cuda or len(self._unchecked) >= self.interval:
            self._check_losses(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Let no checkpoint be written after a bad loss, or with bad weights in it."""
        self._check_losses(runner)
        bad = [
            name
            for name, value in checkpoint["state_dict"].items()
            if value.is_floating_point() and not bool(torch.isfinite(value).all())
        ]
        if bad:
            self._stop(runner, runner.iter, f"weights of {', '.join(bad[:3])} ({len(bad)} in all) are NaN or infinite")

    def _check_losses(self, runner: Runner) -> None:
        unchecked, self._unchecked = self._unchecked, []
        for step, terms in unchecked:
            values = {name: _mean(value) for name, value in terms.items()}
            if not all(math.isfinite(value) for value in values.values()):
                described = ", ".join(f"{name}={value:g}" for name, value in values.items())
                self._stop(runner, step, f"the loss is NaN or infinite ({described})")

    def _stop(self, runner: Runner, step: int, fault: str) -> NoReturn:
        good = last_saved(runner.work_dir)
        kept = f"the last good checkpoint is {good}" if good else "no checkpoint was written yet"
        raise NonFiniteLossError(
            f"step {step}: {fault}; expected finite values. Training stopped, nothing was overwritten: {kept}. "
            "Lower the learning rate, add optim_wrapper.clip_grad, or train without --amp"
        )


def _mean(value: Any) -> float:
    return float(value.detach().float().mean()) if isinstance(value, torch.Tensor) else float(value)
