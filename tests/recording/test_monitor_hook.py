"""The monitor's scalars, warnings and silence, inside a real mmengine loop."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

from gatefuse_plugins.config.validation import config_faults
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.health import GateThresholds, diagnose
from gatefuse_plugins.recording.monitor_hook import GateMonitorHook
from gatefuse_plugins.recording.statistics import TapStatistics
from gatefuse_plugins.registry import HOOKS


class ConstantFusion(Fusion):
    """x + gate, the gate being one constant."""

    def __init__(self, gate: float) -> None:
        super().__init__()
        self.value = gate
        self.gate_tap = GateTap("image", 0.0, 1.0)

    def forward(self, x: Tensor, context: Tensor, condition=None, x_mask=None, context_mask=None, condition_mask=None):
        return x + self.gate_tap(torch.full_like(x, self.value), x_mask)


class Host(BaseModel):
    def __init__(self, gate: float | None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.fusion = None if gate is None else ConstantFusion(gate)
        self.hooks_seen: list[int] = []

    def forward(self, x: Tensor, mode: str = "loss", **_: Any) -> dict[str, Tensor]:
        if self.fusion is not None:
            self.hooks_seen.append(len(self.fusion.gate_tap._forward_hooks))
            mask = torch.tensor([[True, False]]).expand(len(x), 2)
            x = self.fusion(x, x, x_mask=mask)
        return {"loss": (self.scale * x).mean()}


class Hub:
    def __init__(self) -> None:
        self.scalars: dict[str, list[float]] = {}

    def update_scalar(self, name: str, value: float) -> None:
        self.scalars.setdefault(name, []).append(value)


class Stand:
    """The part of a Runner that the hook touches."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.iter = 0
        self.message_hub = Hub()
        self.logger = logging.getLogger("test_monitor_hook")


def drive(hook: GateMonitorHook, model: nn.Module, steps: int) -> Stand:
    stand = Stand(model)
    hook.before_train(stand)
    for stand.iter in range(steps):
        hook.before_train_iter(stand, stand.iter)
        model(torch.zeros(3, 2, 4))
        hook.after_train_iter(stand, stand.iter)
    hook.after_train(stand)
    return stand


def test_scalars_on_monitored_steps_only() -> None:
    model = Host(0.5)
    stand = drive(GateMonitorHook(interval=2), model, steps=5)
    assert stand.message_hub.scalars == {
        "train/gates/fusion.gate_tap/mean": [0.5, 0.5],
        "train/gates/fusion.gate_tap/std": [0.0, 0.0],
        "train/gates/fusion.gate_tap/min": [0.5, 0.5],
        "train/gates/fusion.gate_tap/max": [0.5, 0.5],
        "train/gates/fusion/change": [0.5, 0.5],
    }
    assert model.hooks_seen == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("gate", "word", "remedy"), [(0.99, "saturated", "temperature"), (0.005, "collapsed", "alpha_init")]
)
def test_warns_once_after_patience(gate: float, word: str, remedy: str, caplog: pytest.LogCaptureFixture) -> None:
    hook = GateMonitorHook(interval=1, patience=2, saturation_fraction=1.0)
    model = Host(gate)
    with caplog.at_level(logging.WARNING, "test_monitor_hook"):
        drive(hook, model, steps=1)
        assert not caplog.records
        drive(hook, model, steps=4)
    messages = [record.getMessage() for record in caplog.records if word in record.getMessage()]
    assert len(messages) == 1
    assert "fusion.gate_tap" in messages[0]
    assert remedy in messages[0]


def test_healthy_gate_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "test_monitor_hook"):
        drive(GateMonitorHook(interval=1, patience=1), Host(0.5), steps=3)
    assert not caplog.records


def test_model_without_gates_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    hook = GateMonitorHook(interval=1)
    with caplog.at_level(logging.INFO, "test_monitor_hook"):
        stand = drive(hook, Host(None), steps=2)
        drive(hook, Host(None), steps=2)
    assert [record.getMessage() for record in caplog.records] == ["Host has no gates to monitor"]
    assert stand.message_hub.scalars == {}


def test_unreached_gates_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    model = Host(None)
    model.spare = ConstantFusion(0.5)
    with caplog.at_level(logging.WARNING, "test_monitor_hook"):
        drive(GateMonitorHook(interval=1), model, steps=2)
    assert [("no value passed" in record.getMessage()) for record in caplog.records] == [True]


def test_hooks_of_a_step_that_raised_do_not_add_up() -> None:
    hook, model = GateMonitorHook(interval=1), Host(0.5)
    stand = Stand(model)
    hook.before_train(stand)
    hook.before_train_iter(stand, 0)  # the step raises: no after_train_iter
    hook.before_train_iter(stand, 0)
    assert len(model.fusion.gate_tap._forward_hooks) == len(model.fusion._forward_hooks) == 1
    hook.after_train(stand)
    assert len(model.fusion.gate_tap._forward_hooks) == len(model.fusion._forward_hooks) == 0


def test_collapse_needs_narrow_values_near_neutral_or_zero() -> None:
    def tap(mean: float, std: float, neutral: float) -> TapStatistics:
        return TapStatistics("ffn", 0, 0.0, 2.0, neutral, 8, mean, std, mean, mean, 0.0, 0.0)

    limits = GateThresholds()
    assert set(diagnose("g", tap(1.005, 0.0, 1.0), limits)) == {"collapse"}
    assert set(diagnose("g", tap(0.005, 0.0, 1.0), limits)) == {"collapse"}
    assert diagnose("g", tap(0.5, 0.0, 1.0), limits) == {}
    assert diagnose("g", tap(1.0, 0.1, 1.0), limits) == {}


def test_arguments_out_of_range() -> None:
    with pytest.raises(ConfigError, match="GateMonitorHook: interval is 0"):
        GateMonitorHook(interval=0)
    with pytest.raises(ConfigError, match="GateThresholds: saturation_fraction is 2.*; query_low 0.9"):
        GateMonitorHook(saturation_fraction=2, query_high=0.5, query_low=0.9)


def test_arguments_out_of_range_are_faults_of_the_config() -> None:
    hooks = [{"type": "GateMonitorHook", "priority": "LOW", "patience": 0}, {"type": "GateMonitorHook"}]
    (fault,) = config_faults({"default_scope": "gatefuse", "model": {}, "custom_hooks": hooks})
    assert fault == "custom_hooks.0: GateMonitorHook: interval is 50 and patience 0; expected whole numbers from 1"


def test_in_a_runner(tmp_path: Path) -> None:
    assert HOOKS.get("GateMonitorHook") is GateMonitorHook
    runner = Runner(
        model=Host(0.25),
        work_dir=str(tmp_path),
        train_dataloader={
            "dataset": [torch.zeros(2, 4)] * 4,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "batch_size": 2,
            "collate_fn": lambda items: {"x": torch.stack(items)},
        },
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.0}},
        custom_hooks=[GateMonitorHook(interval=2)],
        default_hooks={"checkpoint": None},
        experiment_name="monitor",
        log_level="ERROR",
    )
    runner.train()
    assert runner.message_hub.get_scalar("train/gates/fusion.gate_tap/mean").data[0].tolist() == [0.25]
    assert runner.message_hub.get_scalar("train/gates/fusion/change").data[0].tolist() == [0.25]
