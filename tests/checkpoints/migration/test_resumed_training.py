"""An old run goes on in a gated model, by the real Runner: trained without audio, resumed with gated audio."""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from gatefuse_plugins.engine.resume import load_resumable
from gatefuse_plugins.launch import launch_training

ROOT = Path(__file__).resolve().parents[3]
SIZES = ("num_train_videos=12", "num_val_videos=4", "num_test_videos=2")


def options(folder: Path, epochs: int) -> list[str]:
    return [
        *(f"data_root={folder / 'none'}", f"embedded.root={folder / 'set'}"),
        *(f"embedded.{size}" for size in SIZES),
        *(f"max_epochs={epochs}", "val_interval=1", "batch_size=8", "log_interval=1", "profile=embedded"),
    ]


def train(folder: Path, config: str, work: str, epochs: int, resume: Path | None = None) -> Path:
    arguments = Namespace(
        config=str(ROOT / "configs" / config),
        work_dir=str(folder / work),
        cfg_options=options(folder, epochs),
        resume=None if resume is None else str(resume),
        amp=False,
        launcher="none",
        local_rank=0,
    )
    return launch_training(arguments)


def newest(work: Path) -> Path:
    return Path((work / "last_checkpoint").read_text().strip())


def test_an_old_run_goes_on_with_gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("migrate_tool", ROOT / "tools" / "migrate.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    old = newest(train(tmp_path, "qvhighlights_video_only.py", "old", epochs=1))
    before = load_resumable(old)
    target = ["--config", str(ROOT / "configs/qvhighlights_avigate.py"), "--cfg-options", *options(tmp_path, 2)]
    out = tmp_path / "new.pth"
    assert tool.main(["run", str(old), *target, "--out", str(out)]) == 0
    migrated = load_resumable(out)
    assert migrated["meta"]["iter"] == before["meta"]["iter"]
    assert all(torch.equal(migrated["state_dict"][name], tensor) for name, tensor in before["state_dict"].items())

    after = load_resumable(newest(train(tmp_path, "qvhighlights_avigate.py", "new", 2, resume=out)))
    assert (after["meta"]["epoch"], after["meta"]["iter"]) == (2, 2 * before["meta"]["iter"])
    names = list(after["state_dict"])
    steps = {names[number]: int(entry["step"]) for number, entry in after["optimizer"]["state"].items()}
    olds = {name for name in steps if name in before["state_dict"]}
    assert {steps[name] for name in olds} == {after["meta"]["iter"]}
    fresh = {name for name in steps if name.startswith(("fusion.", "input_aud_proj."))}
    assert {steps[name] for name in fresh} == {before["meta"]["iter"]}
    assert olds | fresh == set(steps)
    assert olds
    moved = [name for name in fresh if not torch.equal(after["state_dict"][name], migrated["state_dict"][name])]
    assert "fusion.fusion_layers.0.delta_norm_mha.weight" in moved
    assert "fusion.fusion_layers.0.gating_function.mlp_mha.0.weight" in moved
    assert after["param_schedulers"][0]["_global_step"] == 2
