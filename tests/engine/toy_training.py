"""A tiny regression run for the engine's tests: dropout, AdamW, OneCycleLR, one validation an epoch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner import runner as runner_module
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from gatefuse_plugins.engine.hooks.checkpoint import SafeCheckpointHook
from gatefuse_plugins.engine.hooks.step_seed import StepSeedHook
from gatefuse_plugins.engine.loop import ResumableEpochLoop
from gatefuse_plugins.engine.resume import allow_checkpoint_globals, find_latest

runner_module.collect_env = dict  # asks gcc, nvcc and git for their versions: a second a run

SAMPLES, BATCH, EPOCHS = 40, 5, 3
STEPS_PER_EPOCH = SAMPLES // BATCH
STEPS = EPOCHS * STEPS_PER_EPOCH


class ToySet(Dataset):
    def __init__(self, noise: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(SAMPLES, 4, generator=generator)
        self.y = self.x.sum(dim=1, keepdim=True)
        self.noise = noise

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index] + self.noise * torch.randn(4), "y": self.y[index]}


class ToySampler(Sampler):
    """Shuffles by epoch; ``start`` samples are skipped."""

    def __init__(self) -> None:
        self.epoch = self.start = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.epoch)
        return iter(torch.randperm(SAMPLES, generator=generator).tolist()[self.start :])


class ToyModel(BaseModel):
    def __init__(self, nan_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
        self.nan_at, self.calls = nan_at, 0

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "loss") -> Any:
        if mode == "predict":
            torch.rand(3)  # validation that draws random numbers must not disturb training
            return [{"error": (self.net(x) - y).abs()}]
        self.calls += 1
        loss = (self.net(x) - y).pow(2).mean()
        return {"loss_fit": loss * float("nan") if self.calls == self.nan_at else loss}


class ToyMetric(BaseMetric):
    default_prefix = "toy"

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(float(data_samples[0]["error"].mean()))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {"mean": 100 - sum(results) / len(results)}


class StartHook(Hook):
    """Writes down at which step this run took up training."""

    def before_train(self, runner) -> None:
        Path(runner.work_dir, "started_at").write_text(str(runner.iter))


class KillHook(Hook):
    """SIGKILL this process at an exact place."""

    priority = "LOWEST"

    def __init__(self, step: int, place: str) -> None:
        self.step, self.place = step, place

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.place == "step" and runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        if self.place == "save" and checkpoint["meta"]["iter"] == self.step:
            os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)  # bytes written, not yet renamed

    def after_val_epoch(self, runner, metrics=None) -> None:
        if self.place == "validation" and runner.iter == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def build_runner(
    work_dir: Path,
    hooks: list[Any] = (),
    model: BaseModel | None = None,
    resume: bool = False,
    interval: int = 3,
    noise: float = 0.0,
    train_cfg: dict[str, Any] | None = None,
    runner_type: type[Runner] = Runner,
    **options: Any,
) -> Runner:
    torch.set_num_threads(1)
    allow_checkpoint_globals()
    latest = find_latest(work_dir) if resume else None
    schedule = options.pop("schedule", {})
    checkpoint = options.pop("checkpoint", None) or SafeCheckpointHook(interval=interval, save_best="toy/mean")
    return runner_type(
        model=model or ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader(ToySet(noise), batch_size=BATCH, sampler=ToySampler()),
        val_dataloader=DataLoader(ToySet(), batch_size=BATCH),
        train_cfg={"type": ResumableEpochLoop, "max_epochs": EPOCHS, **(train_cfg or {})},
        val_cfg={},
        val_evaluator=Evaluator(ToyMetric()),
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.01}},
        param_scheduler={"type": "OneCycleLR", "eta_max": 0.01, "total_steps": STEPS, "by_epoch": False, **schedule},
        default_hooks={"checkpoint": checkpoint, "logger": {"type": "LoggerHook", "interval": 4}},
        custom_hooks=[StepSeedHook(), *hooks],
        randomness={"seed": 7},
        experiment_name=f"{work_dir.name}-{os.getpid()}-{next(_NAMES)}",
        load_from=str(latest) if latest else None,
        resume=latest is not None,
        **{"log_level": "WARNING", **options},
    )


_NAMES = iter(range(10**6))  # mmengine keeps message hubs by experiment name for the whole process


def train_in_child(work_dir: Path, resume: bool = False, kill: tuple[int, str] | None = None) -> None:
    """Train in this (child) process and write ``final.pt``; ``kill`` is (step, place) of a SIGKILL."""
    runner = build_runner(work_dir, [StartHook(), *([KillHook(*kill)] if kill else [])], resume=resume, noise=0.1)
    runner.train()
    torch.save(runner.model.state_dict(), work_dir / "final.pt")
