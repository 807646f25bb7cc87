"""CSV log, metrics file, curves, progress bar and TensorBoard of one real run, and of its resume."""

from __future__ import annotations

import builtins
import csv
import io
import json
import logging

import pytest
import torch
from mmengine.hooks import Hook
from rich.console import Console
from toy_training import STEPS, STEPS_PER_EPOCH, build_runner

from gatefuse_plugins.engine.hooks.csv_log import CSVLogHook
from gatefuse_plugins.engine.hooks.curves import CurvesHook
from gatefuse_plugins.engine.hooks.metrics_file import MetricsFileHook
from gatefuse_plugins.engine.hooks.progress import ProgressHook
from gatefuse_plugins.engine.resume import load_resumable
from gatefuse_plugins.errors import ConfigError

IDENTITY = {"name": "toy", "split": "val", "embedded": True}


class GateScalars(Hook):
    """Stands for the gate monitor: puts a scalar into the message hub from step 8 on."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 >= 8:
            runner.message_hub.update_scalar("train/gates/query/mean", 0.5)


class StopAt(Hook):
    def __init__(self, step):
        self.step = step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            raise KeyboardInterrupt


def rows_of(work_dir):
    with open(work_dir / "training_log.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def hooks(text):
    return [CSVLogHook(interval=4), MetricsFileHook(console=Console(file=text, width=100)), GateScalars()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run interrupted at step 15 (last checkpoint 12, rows up to 12 and a validation at 8) and resumed."""
    work_dir = tmp_path_factory.mktemp("finished")
    text = io.StringIO()
    options = {
        "cfg": {"dataset_identity": IDENTITY},
        "visualizer": {"type": "Visualizer", "vis_backends": [{"type": "TensorboardVisBackend"}]},
    }
    with pytest.raises(KeyboardInterrupt):
        build_runner(work_dir, [*hooks(text), StopAt(15)], interval=6, **options).train()
    with open(work_dir / "training_log.csv", "a") as stream:
        stream.write("14,2,train,0.1,0.1,1,1,,\n15,2,tra")  # a row past the checkpoint, and a torn one
    build_runner(work_dir, [*hooks(text), CurvesHook()], resume=True, interval=6, **options).train()
    return work_dir, text.getvalue()


def test_csv_rows(finished):
    rows = rows_of(finished[0])
    assert list(rows[0])[:7] == ["step", "epoch", "split", "seconds", "lr", "loss", "loss_fit"]
    keys = [(int(row["step"]), int(row["epoch"]), row["split"]) for row in rows]
    assert keys == [
        (4, 1, "train"), (8, 1, "train"), (8, 1, "val"),
        (12, 2, "train"), (16, 2, "train"), (16, 2, "val"),
        (20, 3, "train"), (24, 3, "train"), (24, 3, "val"),
    ]  # fmt: skip
    assert rows[0]["gates/query/mean"] == "" and rows[1]["gates/query/mean"] == "0.5"
    assert all(float(row["toy/mean"]) > 90 for row in rows if row["split"] == "val")
    assert all(float(row["loss"]) == float(row["loss_fit"]) for row in rows if row["split"] == "train")
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_metrics_file(finished):
    work_dir, text = finished
    result = json.loads((work_dir / "metrics.json").read_text())
    values = {int(row["step"]): float(row["toy/mean"]) for row in rows_of(work_dir) if row["split"] == "val"}
    best_step = max(values, key=values.get)
    assert result["finished"] is True and (result["step"], result["epoch"]) == (STEPS, 3)
    assert result["metrics"]["toy/mean"] == pytest.approx(values[STEPS], abs=1e-3)
    assert result["best"]["step"] == best_step and result["best"]["metric"] == "toy/mean"
    assert result["best"]["score"] == pytest.approx(values[best_step], abs=1e-3)
    assert result["best"]["checkpoint"].endswith(f"best_toy_mean_iter_{best_step}.pth")
    assert result["dataset"] == IDENTITY and result["seed"] == 7
    assert load_resumable(work_dir / f"iter_{STEPS}.pth")["meta"]["dataset_identity"] == IDENTITY
    best = torch.load(result["best"]["checkpoint"], weights_only=True)
    assert best["meta"]["dataset_identity"] == IDENTITY
    for words in ("toy val (embedded set)", "toy/mean", "training_log.csv", "metrics.json", f"iter_{STEPS}.pth"):
        assert words in text


def test_curves_and_tensorboard(finished):
    work_dir, _ = finished
    assert (work_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = {}
    for path in work_dir.rglob("events.out.tfevents*"):
        events = EventAccumulator(str(path))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            logged.setdefault(tag, []).extend(event.step for event in events.Scalars(tag))
    assert logged["loss"][0] == 4 and logged["loss"][-1] == STEPS
    assert logged["toy/mean"]


def test_new_run_keeps_the_old_log(tmp_path):
    for _ in range(2):
        build_runner(tmp_path, [CSVLogHook(interval=4)], train_cfg={"max_steps": 4}).train()
    assert len(rows_of(tmp_path)) == 2
    assert (tmp_path / "training_log.previous.csv").is_file()


def test_missing_matplotlib_is_one_warning(tmp_path, monkeypatch, caplog):
    real = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")
        return real(name, *args, **kwargs)

    runner = build_runner(tmp_path)
    (tmp_path / "training_log.csv").write_text("step,epoch,split,seconds,loss\n1,1,train,0.1,2.0\n")
    warnings = []
    monkeypatch.setattr(runner.logger, "warning", warnings.append)
    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    CurvesHook().after_train(runner)
    assert len(warnings) == 1 and "pip install 'gatefuse-plugins[report]'" in warnings[0]
    assert not (tmp_path / "curves.png").exists()


def test_progress_bar_on_a_terminal_only(tmp_path):
    screen = io.StringIO()
    hook = ProgressHook(interval=1, console=Console(file=screen, force_terminal=True, width=120))
    runner = build_runner(tmp_path / "terminal", [hook])
    runner.train()
    assert f"{STEPS}/{STEPS}" in screen.getvalue() and "loss_fit" in screen.getvalue()
    silent = io.StringIO()
    hook = ProgressHook(console=Console(file=silent, force_terminal=False))
    build_runner(tmp_path / "pipe", [hook], train_cfg={"max_steps": STEPS_PER_EPOCH}).train()
    assert silent.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_log_lines_go_above_the_bar_and_pipes_are_left_alone(tmp_path):
    terminal, pipe = logging.StreamHandler(screen := Terminal()), logging.StreamHandler(piped := io.StringIO())
    runner = build_runner(tmp_path)
    hook = ProgressHook(console=Console(file=io.StringIO(), force_terminal=True))
    for handler in (terminal, pipe):
        runner.logger.addHandler(handler)
    try:
        hook.before_train(runner)
        assert terminal.stream is not screen and pipe.stream is piped
        hook.close()
        assert terminal.stream is screen
    finally:
        hook.close()
        for handler in (terminal, pipe):
            runner.logger.removeHandler(handler)


def test_metrics_file_needs_the_recorder_of_validations(tmp_path):
    runner = build_runner(tmp_path, [MetricsFileHook()], checkpoint={"type": "CheckpointHook"})
    with pytest.raises(ConfigError, match="SafeCheckpointHook"):
        runner.train()
