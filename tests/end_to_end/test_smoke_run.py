"""What a finished run leaves behind, and what may be done with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from gatefuse_plugins.engine.resume import load_resumable

# mmengine's one-cycle schedule divides by zero where its warm-up is a single step, as a tenth of ten is
ONE_EPOCH = ("max_epochs=1", "pct_start=0.3")


def csv_rows(work_dir: Path) -> list[dict[str, str]]:
    with open(work_dir / "training_log.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def metrics_of(work_dir: Path, name: str = "metrics.json") -> dict:
    return json.loads((work_dir / name).read_text(encoding="utf-8"))


def assert_equal_weights(one: Path, other: Path) -> None:
    first, second = (load_resumable(path)["state_dict"] for path in (one, other))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_metrics_file_tells_data_seed_and_best(smoke) -> None:
    record = metrics_of(smoke[0])
    assert record["finished"] is True
    assert record["step"] == 20
    assert record["dataset"]["embedded"] is True
    assert record["dataset"]["split"] == "val"
    assert record["seed"] == 0
    assert record["wall_seconds"] > 0
    assert Path(record["best"]["checkpoint"]).is_file()
    assert record["metrics"]["cirr/mean"] == pytest.approx(
        (record["metrics"]["cirr/R@5"] + record["metrics"]["cirr/R_s@1"]) / 2
    )


def test_log_has_gates_and_a_falling_loss(smoke) -> None:
    rows = csv_rows(smoke[0])
    assert [(row["step"], row["split"]) for row in rows] == [
        ("5", "train"), ("10", "train"), ("10", "val"), ("15", "train"), ("20", "train"), ("20", "val")
    ]  # fmt: skip
    losses = [float(row["loss"]) for row in rows if row["split"] == "train"]
    assert losses[-1] < losses[0]
    assert all(0 < float(row["gates/fusion.gate_tap/mean"]) < 1 for row in rows if row["split"] == "train")


def test_files_and_console(smoke) -> None:
    work_dir, output = smoke
    assert list(work_dir.glob("*/vis_data/events.out.tfevents.*"))
    assert (work_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
    for name in ("best_cirr_mean_iter_", "metrics.json", "training_log.csv", "curves.png"):
        assert str(work_dir / name) in output
    assert "FutureWarning" not in output
    assert "None.registry" not in output


def test_log_file_begins_with_the_data_set(smoke) -> None:
    (log,) = smoke[0].glob("*/*.log")
    first = log.read_text(encoding="utf-8").splitlines()[:3]
    assert any("embedded scenes" in line and "WARNING" in line for line in first)
    assert any("not of cirr" in line for line in first)


def test_checkpoint_is_stamped(smoke) -> None:
    meta = load_resumable(smoke[0] / "iter_20.pth")["meta"]
    assert meta["dataset_identity"]["embedded"] is True
    assert meta["wall_seconds"] > 0
    assert meta["vision_digest"]


def test_test_tool_reproduces_the_metrics(smoke, workshop, tmp_path) -> None:
    best = metrics_of(smoke[0])["best"]
    status, output = workshop.run(
        "tools/test.py", "configs/cirr_smoke.py", best["checkpoint"], "--work-dir", str(tmp_path),
        "--cfg-options", *workshop.options(),
    )  # fmt: skip
    assert status == 0, output
    assert metrics_of(tmp_path, "test_metrics.json")["metrics"] == best["metrics"]


def test_test_tool_without_the_cache_encodes_pictures_as_training_did(smoke, workshop, tmp_path) -> None:
    best = metrics_of(smoke[0])["best"]
    status, output = workshop.run(
        "tools/test.py", "configs/cirr_smoke.py", best["checkpoint"], "--work-dir", str(tmp_path),
        "--cfg-options", *workshop.options(), "features.enabled=False",
    )  # fmt: skip
    assert status == 0, output
    found = metrics_of(tmp_path, "test_metrics.json")["metrics"]  # cached tokens are half precision, these are not
    assert found == pytest.approx(best["metrics"], abs=1.0)


def test_cirr_checkpoint_on_fashioniq(smoke, workshop, tmp_path) -> None:
    sizes = ("num_train_images=300", "num_train_queries=200")
    status, output = workshop.run(
        "tools/test.py", "configs/fashioniq_gated.py", str(smoke[0] / "iter_20.pth"), "--work-dir", str(tmp_path),
        "--cfg-options", *workshop.options(), f"embedded.root={tmp_path / 'fashioniq'}",
        *(f"embedded.{size}" for size in sizes),
    )  # fmt: skip
    assert status == 0, output
    record = metrics_of(tmp_path, "test_metrics.json")
    assert record["trained_on"]["digest"] != record["dataset"]["digest"]
    assert 0 < record["metrics"]["fashioniq/R@50"] <= 100


def test_arm_without_gates_trains_and_the_monitor_says_so_once(smoke, workshop) -> None:
    status, output = workshop.run("tools/train.py", *workshop.train_arguments("ungated", "fusion=None", *ONE_EPOCH))
    assert status == 0, output
    assert output.count("no gate") == 1
    assert not [name for name in csv_rows(workshop.root / "ungated")[0] if name.startswith("gates/")]


def test_killed_run_resumes_to_the_same_weights(smoke, workshop) -> None:
    work_dir = workshop.root / "killed"
    pointer = work_dir / "last_checkpoint"
    workshop.kill_once(pointer.is_file, "tools/train.py", *workshop.train_arguments("killed", "checkpoint_interval=3"))
    assert not (work_dir / "iter_20.pth").exists()
    status, output = workshop.run(
        "tools/train.py", *workshop.train_arguments("killed", "checkpoint_interval=3", resume=True)
    )
    assert status == 0, output
    assert_equal_weights(work_dir / "iter_20.pth", smoke[0] / "iter_20.pth")
    resumed, whole = metrics_of(work_dir), metrics_of(smoke[0])
    assert resumed["metrics"] == whole["metrics"]
    assert [row["step"] for row in csv_rows(work_dir)] == [row["step"] for row in csv_rows(smoke[0])]


def test_two_ranks_train_to_the_end(smoke, workshop) -> None:
    status, output = workshop.run(
        "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29617", "tools/train.py",
        *workshop.train_arguments("ranks", *ONE_EPOCH), "--launcher", "pytorch",
    )  # fmt: skip
    assert status == 0, output
    assert metrics_of(workshop.root / "ranks")["finished"] is True
