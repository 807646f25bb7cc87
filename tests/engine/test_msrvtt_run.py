"""configs/msrvtt_*.py from the command line: training, test, leak check."""

from __future__ import annotations

import csv
import inspect
import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch

import gatefuse_plugins.hosts.avigate.encoders  # noqa: F401 (registers them)
from gatefuse_plugins.config import load_config, validate_config
from gatefuse_plugins.hosts.avigate import AVIGATE, build_avigate
from gatefuse_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
QUERY_GATE = "configs/msrvtt_avigate_query_gate.py"
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("msrvtt_*.py"))


def run_tool(script: str, *arguments: str) -> int:
    """Run a tool in this process (imports cost seconds); gives its exit status."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return ended.value.code


def small(root: Path, *more: str) -> list[str]:
    sizes = ["num_train_videos=26", "num_test_videos=12", "captions_per_video=2"]
    return [
        "--cfg-options",
        f"data_root={root / 'none'}",
        f"embedded.root={root / 'set'}",
        *(f"embedded.{size}" for size in sizes),
        *("profiles.embedded.num_frames=2", "val_videos=10"),
        *("batch_size=8", "max_epochs=2", "warmup_epochs=0.5", "log_interval=1"),
        *more,
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``set`` and the finished run ``work``."""
    root = tmp_path_factory.mktemp("msrvtt")
    assert run_tool("tools/train.py", QUERY_GATE, "--work-dir", str(root / "work"), *small(root)) == 0
    return root


def best(root: Path) -> tuple[str, dict[str, float]]:
    record = json.loads((root / "work/metrics.json").read_text())
    assert record["finished"] and record["dataset"]["split"] == "val" and record["dataset"]["embedded"]
    return record["best"]["checkpoint"], record["best"]["metrics"]


def test_the_best_epoch_is_of_the_validation_split_and_its_figures_come_again(trained: Path, tmp_path: Path) -> None:
    checkpoint, metrics = best(trained)
    for layer in (0, 1):
        assert -1 <= metrics[f"gate_correlation/query_attention_{layer}"] <= 1
        (scalars,) = (trained / "work").glob("*/vis_data/scalars.json")
        assert f"gate_correlation/query_attention_{layer}" in scalars.read_text()
    names = [*(f"R@{k}" for k in (1, 5, 10)), "MedianR", "MeanR"]
    assert {f"msrvtt/{way}_{name}" for way in ("t2v", "v2t") for name in names} <= metrics.keys()
    again = [QUERY_GATE, checkpoint, "--split", "val", "--work-dir", str(tmp_path), *small(trained)]
    assert run_tool("tools/test.py", *again) == 0
    record = json.loads((tmp_path / "val_metrics.json").read_text())
    assert record["metrics"] == {name: pytest.approx(value, abs=1e-9) for name, value in metrics.items()}
    assert run_tool("tools/test.py", QUERY_GATE, checkpoint, "--work-dir", str(tmp_path), *small(trained)) == 0
    tested = json.loads((tmp_path / "test_metrics.json").read_text())
    assert tested["dataset"]["split"] == "test"
    final = json.loads((trained / "work/metrics.json").read_text())["test"]
    assert final["best"] == {name: pytest.approx(value, abs=1e-9) for name, value in tested["metrics"].items()}
    assert final["last"].keys() == final["best"].keys()
    assert "## Test split" in (trained / "work/REPORT.md").read_text()


def test_the_last_weights_stay_in_place_after_the_final_test(trained: Path, tmp_path: Path) -> None:
    (last,) = (trained / "work").glob("iter_8.pth")
    assert run_tool("tools/test.py", QUERY_GATE, str(last), "--work-dir", str(tmp_path), *small(trained)) == 0
    final = json.loads((trained / "work/metrics.json").read_text())["test"]
    tested = json.loads((tmp_path / "test_metrics.json").read_text())["metrics"]
    assert final["last"] == {name: pytest.approx(value, abs=1e-9) for name, value in tested.items()}


def test_a_final_test_on_the_validating_split_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = small(trained, "test_dataloader.dataset.split=val")
    assert run_tool("tools/train.py", QUERY_GATE, "--work-dir", str(trained / "same"), *same) == 2
    assert "FinalTestHook: test_dataloader.dataset is missing or the one that validates" in capsys.readouterr().err


def test_faults_of_the_test_split_cost_no_training(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "set", tmp_path / "set")
    with (tmp_path / "set/MSRVTT_JSFUSION_test.csv").open() as stream:
        name = next(csv.DictReader(stream))["video_id"]
    shutil.rmtree(tmp_path / "set/frames" / name)
    options = small(trained, f"data_root={tmp_path / 'set'}")  # profile=auto: the embedded one
    assert run_tool("tools/train.py", QUERY_GATE, "--work-dir", str(tmp_path / "work"), *options) == 2
    assert f"videos of which nothing lies in {tmp_path / 'set'}" in (error := capsys.readouterr().err)
    assert f"(1): {name}" in error
    assert not list((tmp_path / "work").glob("*.pth"))
    assert not (tmp_path / "work/training_log.csv").exists()


def test_an_option_without_parameters_does_not_change_silently(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = [QUERY_GATE, best(trained)[0], "--work-dir", str(tmp_path)]
    warning = "was trained with other options: model.layer_decay is 'off' in the checkpoint's model, 'fixed' in the"
    assert run_tool("tools/test.py", *test, *small(trained)) == 0
    printed = "".join(capsys.readouterr())
    assert "was trained with other options" not in printed
    assert printed.count("figures of this run are figures of embedded") == 1
    assert run_tool("tools/test.py", *test, *small(trained, "model.layer_decay=fixed")) == 0
    assert "".join(capsys.readouterr()).count(warning) == 1
    logs = [path.read_text() for path in sorted(tmp_path.glob("*/*.log"))]
    assert warning in "".join(logs)
    assert all("figures of this run are figures of embedded" in log.split("\n", 3)[1] for log in logs)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--leak-check", "--out", "y.json"], "--out y.json: has no effect here; --leak-check writes nothing"),
        (["--leak-check", "--plots", "0"], "--plots 0: has no effect here; --leak-check writes nothing"),
        (["--leak-check", "--gate-log"], "--gate-log: has no effect here; --leak-check writes nothing"),
        (["--plot-qids", "7", "8"], "--plot-qids: pictures are of moment-retrieval queries"),
    ],
)
def test_flags_without_effect_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    if "--plot-qids" in flags:
        pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")
    given = [QUERY_GATE, best(trained)[0], *flags, "--work-dir", str(tmp_path), *small(trained)]
    assert run_tool("tools/test.py", *given) == 2
    assert told in capsys.readouterr().err


def test_the_log_tells_all_gates(trained: Path) -> None:
    header = (trained / "work/training_log.csv").read_text().splitlines()[0]
    for gate in ("attn_gate", "ff_gate", "query_gate"):
        for statistic in ("mean", "std", "min", "max"):
            assert f"gates/transformerClip.resblocks.1.{gate}.tap/{statistic}" in header


class LeakyAVIGATE(AVIGATE):
    """Knows by position which text belongs to which video."""

    def score(self, texts, videos, max_bytes=0):
        scores = super().score(texts, videos, max_bytes)
        return scores + scores.std() * torch.eye(len(texts))


def build_leaky(**given) -> AVIGATE:
    model = build_avigate(**given)
    model.__class__ = LeakyAVIGATE
    return model


@pytest.fixture
def leaky():
    build_leaky.__signature__ = inspect.signature(build_avigate)  # by which options are judged
    MODELS.register_module("LeakyAVIGATE", module=build_leaky, force=True)
    yield
    MODELS._module_dict.pop("LeakyAVIGATE")


def test_leak_check_exits_with_one_on_a_leak(
    trained: Path, tmp_path: Path, leaky: None, capsys: pytest.CaptureFixture[str]
) -> None:
    check = [QUERY_GATE, best(trained)[0], "--leak-check", "--work-dir", str(tmp_path)]
    assert run_tool("tools/test.py", *check, *small(trained)) == 0
    assert "no leak found" in "".join(capsys.readouterr())
    assert run_tool("tools/test.py", *check, *small(trained, "model.type=LeakyAVIGATE")) == 1
    assert "the scorer knows which text belongs to which video" in "".join(capsys.readouterr())


@pytest.mark.parametrize("config", ["configs/msrvtt_avigate.py", "configs/msrvtt_avigate_learnable_decay.py"])
def test_a_checkpoint_of_another_variant_is_refused(
    trained: Path, tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool("tools/test.py", config, best(trained)[0], "--work-dir", str(tmp_path), *small(trained)) == 2
    assert "query_gate.qg_fc.weight" in capsys.readouterr().err


def test_real_data_without_weights_names_the_folder(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [
        f"data_root={trained / 'set'}",
        "profile=real",
        f"weights.clip={tmp_path / 'clip'}",
        "val_videos=10",
        "num_workers=0",
    ]
    arguments = ["configs/msrvtt_avigate.py", "--work-dir", str(tmp_path / "work"), "--cfg-options", *places]
    assert run_tool("tools/train.py", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("train.py: error: ") and str(tmp_path / "clip") in error


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("profile", ["real", "embedded"])
def test_configs_have_no_fault(name: str, profile: str) -> None:
    cfg = load_config(ROOT / "configs" / f"{name}.py", [f"profile={profile}"])
    validate_config(cfg)
    splits = [cfg[f"{part}_dataloader"].dataset.split for part in ("train", "val", "test")]
    assert splits == ["train", "val", "test"] and cfg.val_videos > 0
