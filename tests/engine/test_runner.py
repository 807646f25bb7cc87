"""What the Runner adds to mmengine's, and the clock of a resumed run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy_training import STEPS, build_runner

from gatefuse_plugins.engine.hooks.metrics_file import MetricsFileHook
from gatefuse_plugins.engine.runner import AnnouncingRunner
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.files import read_json


class Pause(Hook):
    """Makes one step last a known time, or stops the run there."""

    def __init__(self, step: int, seconds: float = 0.0) -> None:
        self.step, self.seconds = step, seconds

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        if runner.iter + 1 == self.step:
            time.sleep(self.seconds)
            if not self.seconds:
                raise KeyboardInterrupt


def test_schedule_with_a_phase_of_no_step_is_a_config_fault(tmp_path: Path) -> None:
    runner = build_runner(tmp_path, runner_type=AnnouncingRunner, schedule={"pct_start": 1 / STEPS})
    with pytest.raises(ConfigError, match=f"would last 0 of {STEPS} steps.*pct_start"):
        runner.train()


def test_wall_seconds_sum_over_resumes(tmp_path: Path) -> None:
    first = build_runner(tmp_path, [MetricsFileHook(), Pause(2, 1.5), Pause(5)])
    with pytest.raises(KeyboardInterrupt):
        first.train()
    build_runner(tmp_path, [MetricsFileHook()], resume=True).train()
    assert 1.5 <= read_json(tmp_path / "metrics.json")["wall_seconds"] < 60  # the resumed part alone takes far less
