from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
import torch
from toy_training import STEPS, build_runner

from gatefuse_plugins.engine.hooks.checkpoint import SafeCheckpointHook
from gatefuse_plugins.engine.resume import find_latest, load_resumable
from gatefuse_plugins.errors import CheckpointError, ConfigError


def checkpoints(work_dir: Path) -> set[str]:
    return {path.name for path in work_dir.glob("*.pth")}


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_keeps_the_newest_and_the_best(tmp_path):
    hook = SafeCheckpointHook(interval=5, max_keep_ckpts=2, save_best="toy/mean")
    runner = build_runner(tmp_path, checkpoint=hook)
    runner.train()
    best = Path(hook.best_ckpt_path).name
    assert best.startswith("best_toy_mean_iter_")
    names = checkpoints(tmp_path)
    assert {name for name in names if name.startswith("best")} == {best}
    assert len(names) == 3 and f"iter_{STEPS}.pth" in names
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / f"iter_{STEPS}.pth")
    meta = load_resumable(tmp_path / f"iter_{STEPS}.pth")["meta"]
    assert (meta["epoch"], meta["iter"]) == (3, STEPS)
    assert "optimizer" not in torch.load(tmp_path / best, weights_only=True)


def test_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    """With max_keep_ckpts=1, where mmengine would have deleted the only good file first."""
    runner = build_runner(tmp_path, checkpoint=SafeCheckpointHook(interval=3, max_keep_ckpts=1))
    original = runner.save_checkpoint

    def fill_disk_at_second_save(*args, **kwargs):
        if checkpoints(tmp_path):
            monkeypatch.setattr(os, "fsync", full_disk)
        original(*args, **kwargs)

    monkeypatch.setattr(runner, "save_checkpoint", fill_disk_at_second_save)
    with pytest.raises(CheckpointError, match=r"iter_6\.pth: .*no space left.*previous checkpoint is intact"):
        runner.train()
    assert checkpoints(tmp_path) == {"iter_3.pth"}
    assert not list(tmp_path.glob(".*.tmp"))
    assert find_latest(tmp_path) == tmp_path / "iter_3.pth"


def test_full_disk_at_a_new_best_keeps_the_old_best(tmp_path, monkeypatch):
    hook = SafeCheckpointHook(interval=100, save_best="toy/mean")
    runner = build_runner(tmp_path, checkpoint=hook)
    runner.train()
    old = Path(hook.best_ckpt_path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(CheckpointError, match="best_toy_mean"):
        runner.train_loop._iter += 1
        hook.after_val_epoch(runner, {"toy/mean": 1000.0})
    assert old.is_file()


def test_read_only_work_dir_is_reported_before_training(tmp_path, monkeypatch):
    runner = build_runner(tmp_path)

    def read_only(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    with pytest.raises(ConfigError, match="cannot be written"):
        runner.train()
    assert runner.iter == 0


def test_wrong_settings_are_refused(tmp_path):
    for options, word in [
        ({"by_epoch": True}, "by_epoch"),
        ({"max_keep_ckpts": 0}, "max_keep_ckpts"),
        ({"save_best": ["a", "b"]}, "save_best"),
    ]:
        with pytest.raises(ConfigError, match=word):
            SafeCheckpointHook(interval=1, **options)
    runner = build_runner(tmp_path, checkpoint=SafeCheckpointHook(interval=100, save_best="toy/maen"))
    with pytest.raises(ConfigError, match=r"toy/maen.*did you mean 'toy/mean'"):
        runner.train()
