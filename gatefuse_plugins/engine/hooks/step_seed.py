"""Randomness as a function of the training step."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.registry import HOOKS

FETCH, STEP = 0, 1


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed torch (CPU and CUDA), numpy and python from ``(seed, step, rank)`` before each step.

    Dropout masks and random transforms then depend on the step alone: a resumed run needs no generator state from
    the checkpoint, and validation or logging that draws random numbers cannot disturb training. Drawing the batch
    and computing on it are seeded apart, so results do not depend on how much randomness a transform consumes.
    Transforms that run in dataloader workers keep their workers' generators and are out of reach.

    Args:
        seed: base seed; by default the runner's (``randomness.seed``).
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def before_train_fetch(self, runner: Runner) -> None:
        """Seed the drawing of a batch (stage of ``ResumableEpochLoop``)."""
        self._seed_all(runner, FETCH)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the optimisation step."""
        self._seed_all(runner, STEP)

    def _seed_all(self, runner: Runner, stage: int) -> None:
        base = runner.seed if self.seed is None else self.seed
        torch_seed, numpy_seed, python_seed = step_seeds(base, runner.iter, get_rank(), stage)
        torch.manual_seed(torch_seed)
        np.random.seed(numpy_seed)
        random.seed(python_seed)


def step_seeds(seed: int, step: int, rank: int, stage: int = STEP) -> tuple[int, int, int]:
    """Three independent 32-bit seeds for ``(seed, step, rank, stage)``, mixed by numpy's ``SeedSequence``."""
    words = np.random.SeedSequence((seed, step, rank, stage)).generate_state(3)
    return int(words[0]), int(words[1]), int(words[2])
