"""Gate maps at validation: files by epoch, and an evaluation that is none the wiser."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from data_sets import write_cirr
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner import runner as runner_module
from tiny_hosts import FUSION, IMAGE_SIZE, tiny_host
from torch.utils.data import DataLoader

from gatefuse_plugins.analysis import gate_map_hook
from gatefuse_plugins.analysis.gate_map_hook import GateMapHook
from gatefuse_plugins.analysis.gates.gate_map import GateMap, analyse_gate_maps
from gatefuse_plugins.data import CIRRDataset, identity_collate
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.evaluation import CIRRMetric
from gatefuse_plugins.registry import HOOKS

pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")
runner_module.collect_env = dict  # asks gcc, nvcc and git for their versions: a second a run
TRANSFORM = [{"type": "TargetPad"}, {"type": "ClipPreprocess", "size": IMAGE_SIZE}]
NAMES = itertools.count()
EPOCH = Runner.epoch


class Watch(Hook):
    """Keeps the evaluation's outputs, and the state of the random numbers after it."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.features: list[torch.Tensor] = []
        self.state = torch.empty(0)
        self.training = False

    def before_val_epoch(self, runner: Runner) -> None:
        self.training = runner.model.training

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.features += [value.clone() for found in outputs for value in found.values()]

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.state = torch.get_rng_state()


def validate(root: Path, *hooks: Hook, fusion: Any = FUSION, epoch: int = 0) -> tuple[Runner, dict[str, float], Watch]:
    dataset, watch = CIRRDataset(root, "val", "eval", transform=TRANSFORM), Watch()
    runner = Runner(
        model=tiny_host(fusion=fusion).train(),
        work_dir=str(root / "work"),
        val_dataloader=DataLoader(dataset, batch_size=5, collate_fn=identity_collate),
        val_cfg={},
        val_evaluator=Evaluator(CIRRMetric()),
        custom_hooks=[*hooks, watch],
        randomness={"seed": 3},
        experiment_name=f"gate-maps-{os.getpid()}-{next(NAMES)}",
        log_level="WARNING",
        default_scope="gatefuse",
        cfg=Config(),
    )
    if epoch:
        type(runner).epoch = property(lambda self: epoch)  # as a training loop would count
    try:
        return runner, runner.val(), watch
    finally:
        if epoch:
            type(runner).epoch = EPOCH


def test_pictures_of_the_first_queries_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[GateMap] = []
    draw = gate_map_hook.draw_gate_maps

    def keep(maps: list[GateMap], folder: Path) -> list[Path]:
        drawn.extend(maps)
        return draw(maps, folder)

    monkeypatch.setattr(gate_map_hook, "draw_gate_maps", keep)
    root = write_cirr(tmp_path)
    _, plain, before = validate(root)
    runner, metrics, after = validate(root, GateMapHook(samples=3, top_k=2), epoch=4)
    assert metrics == plain
    assert torch.equal(before.state, after.state) and before.training and after.training
    assert all(torch.equal(one, other) for one, other in zip(before.features, after.features, strict=True))
    assert not any(module._forward_hooks for module in runner.model.modules())
    files = sorted(path.relative_to(root).as_posix() for path in (root / "work").rglob("*.png"))
    assert files == [f"work/gate_maps/epoch_4/{pair}.png" for pair in (0, 1, 10)]
    # what the evaluation's own gallery gave is what a pass of its own gives
    dataset = runner.val_dataloader.dataset
    expected = analyse_gate_maps(tiny_host(fusion=FUSION), dataset, [0, 1, 2], top_k=2)
    assert [one.rank for one in drawn] == [one.rank for one in expected]
    for one, other in zip(drawn, expected, strict=True):
        assert [hit.name for hit in one.retrievals] == [hit.name for hit in other.retrievals]
        assert (one.maps[1].values == other.maps[1].values).all()


def test_every_so_many_epochs(tmp_path: Path) -> None:
    root = write_cirr(tmp_path)
    for epoch in (1, 2):
        validate(root, GateMapHook(every=2, samples=[1], top_k=0), epoch=epoch)
    assert [path.parent.name for path in (root / "work").rglob("*.png")] == ["epoch_2"]


def test_models_without_fusion_and_unknown_rows_are_said_once(tmp_path: Path) -> None:
    root = write_cirr(tmp_path)
    said: list[str] = []
    for fusion, samples in ((None, 2), (FUSION, [99])):
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        hook = GateMapHook(samples=samples)
        runner, metrics, _ = validate(root, Attach(handler), hook, fusion=fusion)
        hook.before_val_epoch(runner)
        assert metrics["cirr/R@50"] == 100.0
    first, second = (line for line in said if line.startswith("no gate maps"))
    assert "has no fusion" in first and "rows [99]" in second
    assert not list((root / "work").rglob("*.png"))


class Attach(Hook):
    """Listens to the runner's log."""

    priority = "HIGHEST"

    def __init__(self, handler: logging.Handler) -> None:
        self.handler = handler

    def before_val_epoch(self, runner: Runner) -> None:
        runner.logger.addHandler(self.handler)


def test_registered_and_checked() -> None:
    assert HOOKS.get("GateMapHook") is GateMapHook
    for wrong in ({"every": 0}, {"samples": 0}):
        with pytest.raises(ConfigError, match="whole numbers from 1"):
            GateMapHook(**wrong)
