"""An epoch loop that resumes at the exact step where a checkpoint was written."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from gatefuse_plugins.errors import CheckpointError, ConfigError, DataError
from gatefuse_plugins.registry import LOOPS


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """Epoch-based training that can stop and resume anywhere within an epoch.

    mmengine's ``EpochBasedTrainLoop`` restarts the epoch when a checkpoint was written inside it. This loop reads
    the number of steps done in the epoch off the checkpoint's ``iter`` and ``epoch``, lets the sampler skip the
    samples they used and goes on from there. A checkpoint of an epoch's last step resumes at the validation that
    was due after it. With :class:`~gatefuse_plugins.engine.hooks.step_seed.StepSeedHook` a resumed run ends in the
    weights of an uninterrupted one.

    Besides mmengine's stages the loop calls ``before_train_fetch`` on every hook that has it, right before a batch
    is drawn, so that random transforms can be seeded by step.

    Args:
        runner: the runner that owns the loop.
        dataloader: training dataloader, or its config. Its sampler (or batch sampler) needs an integer attribute
            ``start``: how many of this rank's samples the next pass skips.
        max_epochs: epochs to train.
        val_begin: first epoch (counted from 1) that ends in a validation.
        val_interval: epochs between validations; the last epoch always ends in one.
        dynamic_intervals: ``(epoch, val_interval)`` milestones, as mmengine's.
        max_steps: stop after so many optimisation steps, even inside an epoch; that last, partial epoch ends in a
            validation like any other.

    Raises:
        ConfigError: the sampler has no ``start``, or ``max_steps`` is below 1.
        DataError: the dataloader has no batch.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict[str, Any],
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        max_steps: int | None = None,
    ) -> None:
        super().__init__(runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals)
        self.steps_per_epoch = len(self.dataloader)
        if self.steps_per_epoch == 0:
            raise DataError(
                f"train_dataloader: {len(self.dataloader.dataset)} samples make no batch; "
                "expected at least one: lower batch_size or set drop_last=False"
            )
        self._sampler, self._batch_size = _skippable_sampler(self.dataloader)
        if max_steps is not None:
            if max_steps < 1:
                raise ConfigError(f"train_cfg.max_steps: expected 1 or more, got {max_steps}")
            self._max_iters: int = min(self.steps_per_epoch * max_epochs, max_steps)
            self._max_epochs = math.ceil(self._max_iters / self.steps_per_epoch)

    def run(self) -> torch.nn.Module:
        """Train from the current step to the last one; returns the model."""
        self.runner.call_hook("before_train")
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            if self._validation_is_due():
                self.runner.val_loop.run()
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_epoch(self) -> None:
        """Run what is left of the current epoch (possibly no step, when only its validation is missing)."""
        done = self.steps_done_in_epoch()
        last = min(self.steps_per_epoch, self._max_iters - self._epoch * self.steps_per_epoch)
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        if done < last:
            # Set after before_train_epoch, where mmengine's DistSamplerSeedHook calls set_epoch.
            self._sampler.start = done * self._batch_size
            try:
                self._run_steps(done, last)
            finally:
                self._sampler.start = 0
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def steps_done_in_epoch(self) -> int:
        """Steps of the current epoch that were already taken, 0 to ``steps_per_epoch``.

        Raises:
            CheckpointError: the resumed counters do not fit epochs of this length.
        """
        done = self._iter - self._epoch * self.steps_per_epoch
        if not 0 <= done <= self.steps_per_epoch:
            raise CheckpointError(
                f"the resumed checkpoint stands at step {self._iter} in epoch {self._epoch}, which does not fit "
                f"epochs of {self.steps_per_epoch} steps: batch size, number of processes or training set changed. "
                "Resume with the settings of the first run, or start a new work_dir with load_from"
            )
        return done

    def _run_steps(self, first: int, last: int) -> None:
        batches = iter(self.dataloader)
        for index in range(first, last):
            self.runner.call_hook("before_train_fetch")
            try:
                batch = next(batches)
            except StopIteration:
                raise DataError(
                    f"train_dataloader: the sampler {type(self._sampler).__name__} ran out after {index} of the "
                    f"{self.steps_per_epoch} batches of epoch {self._epoch}; expected len() to match what it yields"
                ) from None
            self.run_iter(index, batch)

    def _validation_is_due(self) -> bool:
        if self.runner.val_loop is None or self._epoch < self.val_begin:
            return False
        return self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs


def _skippable_sampler(dataloader: DataLoader) -> tuple[Any, int]:
    """The sampler of ``dataloader`` that can skip samples, and the batch size."""
    batch_sampler = dataloader.batch_sampler
    for sampler in (dataloader.sampler, batch_sampler, getattr(batch_sampler, "sampler", None)):
        if hasattr(sampler, "start"):
            return sampler, dataloader.batch_size or batch_sampler.batch_size
    raise ConfigError(
        f"train_dataloader.sampler: {type(dataloader.sampler).__name__} has no attribute `start` (samples to skip), "
        "without which training cannot resume inside an epoch; use dict(type='gatefuse.ClusterSampler')"
    )
