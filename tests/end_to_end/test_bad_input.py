"""Each fault ends in one message, exit status 2, and nothing that was there before is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gatefuse_plugins.engine.resume import load_resumable
from gatefuse_plugins.files import file_digest

# mmengine's one-cycle schedule divides by zero where its warm-up is a single step, as a tenth of ten is
ONE_EPOCH = ("max_epochs=1", "pct_start=0.3")

DISK_FULL = """
import errno, os, runpy, sys
import gatefuse_plugins.files as files
real = os.fsync
def fsync(handle):
    if "iter_6.pth" in os.readlink(f"/proc/self/fd/{handle}"):
        raise OSError(errno.ENOSPC, "No space left on device")
    real(handle)
files.os.fsync = fsync
sys.argv[0] = "tools/train.py"
runpy.run_path("tools/train.py", run_name="__main__")
"""


def test_all_config_faults_at_once(fail_tool, workshop) -> None:
    overrides = ("fusion.image_dim=100", "backbones.tiny.qformer.hidden_size=130", "val_evaluator.type=CIRRMetrik")
    error = fail_tool("tools/train.py", *workshop.train_arguments("faults", *overrides))
    assert error.startswith("train.py: error: ")
    for part in ("model.fusion.image_dim", "128", "model.qformer.hidden_size", "did you mean 'CIRRMetric'"):
        assert part in error
    assert not (workshop.root / "faults").exists()


def test_work_dir_that_cannot_be_written(fail_tool, workshop, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = workshop.train_arguments(str(tmp_path / "file" / "below"))
    error = fail_tool("tools/train.py", *arguments)
    assert error.startswith("train.py: error: work_dir: ")
    assert "--work-dir" in error


def test_part_of_cirr_is_never_replaced(smoke, fail_tool, workshop, tmp_path) -> None:
    shutil.copytree(workshop.root / "scenes", tmp_path / "cirr")
    next((tmp_path / "cirr").rglob("cap*val*.json")).unlink()
    error = fail_tool("tools/train.py", *workshop.train_arguments("part", f"data_root={tmp_path / 'cirr'}"))
    assert error.startswith("train.py: error: data_root=")
    assert "in part" in error


def test_truncated_captions(smoke, fail_tool, workshop, tmp_path) -> None:
    shutil.copytree(workshop.root / "scenes", tmp_path / "cirr")
    captions = next((tmp_path / "cirr").rglob("cap*val*.json"))
    captions.write_bytes(captions.read_bytes()[:-40])
    error = fail_tool("tools/train.py", *workshop.train_arguments("cut", f"data_root={tmp_path / 'cirr'}"))
    assert error.startswith("train.py: error: ")
    assert captions.name in error


@pytest.mark.parametrize("fault", ["corrupt", "missing"])
def test_bad_images_are_named(smoke, fail_tool, workshop, tmp_path, fault: str) -> None:
    shutil.copytree(workshop.root / "scenes", tmp_path / "cirr")
    image = sorted((tmp_path / "cirr").rglob("*.png"))[0]
    if fault == "corrupt":
        image.write_bytes(image.read_bytes()[:60])
    else:
        image.unlink()
    error = fail_tool("tools/train.py", *workshop.train_arguments(fault, f"data_root={tmp_path / 'cirr'}"))
    assert error.startswith("train.py: error: ")
    assert image.stem in error


def test_checkpoint_of_another_fusion(smoke, fail_tool, workshop, tmp_path) -> None:
    error = fail_tool(
        "tools/test.py", "configs/cirr_smoke.py", str(smoke[0] / "iter_20.pth"), "--work-dir", str(tmp_path),
        "--cfg-options", *workshop.options(), "fusion=None",
    )  # fmt: skip
    assert error.startswith("test.py: error: ")
    assert "fusion" in error


def test_missing_checkpoint(fail_tool, workshop) -> None:
    error = fail_tool("tools/train.py", *workshop.train_arguments("none"), "--resume", "no_such.pth")
    assert error.startswith("train.py: error: --resume no_such.pth")


def test_diverging_run_keeps_its_last_good_checkpoint(smoke, workshop) -> None:
    arguments = workshop.train_arguments("diverging", "lr=1e30", "checkpoint_interval=1")
    status, output = workshop.run("tools/train.py", *arguments)
    assert status == 2
    assert "train.py: error: step " in output
    assert "Traceback" not in output
    for kept in (workshop.root / "diverging").glob("iter_*.pth"):
        assert all(value.isfinite().all() for value in load_resumable(kept)["state_dict"].values())


def test_full_disk_keeps_the_previous_checkpoint(smoke, workshop) -> None:
    arguments = workshop.train_arguments("full", "checkpoint_interval=3")
    status, output = workshop.run("-c", DISK_FULL, *arguments)
    work_dir = workshop.root / "full"
    assert status == 2
    assert "train.py: error: " in output
    assert "no space left" in output
    assert "Traceback" not in output
    assert sorted(path.name for path in work_dir.glob("*.pth")) == ["iter_3.pth"]
    assert load_resumable(work_dir / "iter_3.pth")["meta"]["iter"] == 3
    assert Path((work_dir / "last_checkpoint").read_text()).name == "iter_3.pth"


def test_interrupted_feature_cache_is_completed(smoke, workshop, tmp_path) -> None:
    features = tmp_path / "features"
    overrides = (f"features.root={features}", "features.batch_size=4", *ONE_EPOCH)

    def begun() -> bool:
        return any(path.stat().st_size for path in features.glob("*/rows.txt"))

    workshop.kill_once(begun, "tools/train.py", *workshop.train_arguments("cache_killed", *overrides))
    status, output = workshop.run("tools/train.py", *workshop.train_arguments("cache", *overrides))
    assert status == 0, output
    (rebuilt,) = features.glob("*/rows.txt")
    pictures = [path for split in ("train", "dev") for path in (workshop.root / "scenes" / split).rglob("*.png")]
    assert sorted(rebuilt.read_text().split()) == sorted({file_digest(path) for path in pictures})
