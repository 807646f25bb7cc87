"""tools/test.py on moment retrieval: splits, submissions, pictures, and the arguments that it refuses."""

from __future__ import annotations

import json
import runpy
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from gatefuse_plugins.config import load_config
from gatefuse_plugins.data.events import EventSetConfig, make_qvhighlights_events
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.launch_setup import load_run_config
from gatefuse_plugins.launch_test import _choose_submission
from gatefuse_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "qvhighlights_avigate_clipwise.py"
SIZES = EventSetConfig(num_train_videos=1, num_val_videos=1, num_test_videos=1, min_clips=20, max_clips=24)
SMALL = ["profile=embedded", "profiles.embedded.hidden_dim=8", "profiles.embedded.dim_feedforward=8"]
Tool = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``set`` and ``untrained.pth``."""
    root = tmp_path_factory.mktemp("tool")
    make_qvhighlights_events(root / "set", SIZES)
    torch.manual_seed(0)
    model = MODELS.build(load_config(CONFIG, SMALL).model)
    torch.save({"state_dict": model.state_dict(), "meta": {}, "message_hub": {}}, root / "untrained.pth")
    return root


@pytest.fixture
def tool(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    """Run tools/test.py in this process (imports cost seconds); gives exit status and everything printed."""

    def run(*arguments: str) -> tuple[int, str]:
        given = [str(CONFIG), str(folder / "untrained.pth"), "--work-dir", str(tmp_path)]
        options = ["--cfg-options", *SMALL, f"data_root={folder / 'set'}"]
        monkeypatch.setattr(sys, "argv", ["tools/test.py", *given, *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "tools" / "test.py"), run_name="__main__")
        captured = capsys.readouterr()
        return ended.value.code, captured.out + captured.err

    return run


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_split_without_labels_gives_a_submission_and_says_so(tool: Tool, tmp_path: Path, folder: Path) -> None:
    status, output = tool("--split", "test")
    assert status == 0, output
    assert (
        "split test of embedded audio-visual events (not QVHighlights) has no labels: no metrics can be computed"
        in output
    )
    lines = _lines(tmp_path / "test_submission.jsonl")
    assert [line["qid"] for line in lines] == [e["qid"] for e in _lines(folder / "set/highlight_test_release.jsonl")]
    saved = json.loads((tmp_path / "test_metrics.json").read_text())
    assert not [name for name in saved["metrics"] if name.startswith("qvhighlights/")]
    assert saved["dataset"]["split"] == "test" and saved["submission"] == [str(tmp_path / "test_submission.jsonl")]


def test_labelled_split_with_submission_and_pictures_elsewhere(tool: Tool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")
    places = ["--submission", str(tmp_path / "s.jsonl"), "--plots-dir", str(tmp_path / "drawn"), "--plots", "1"]
    status, output = tool("--split", "val", *places)
    assert status == 0, output
    assert "no labels" not in output
    saved = json.loads((tmp_path / "val_metrics.json").read_text())
    assert {"qvhighlights/MR-full-mAP", "gate_auc/attention_0"} <= saved["metrics"].keys()
    first, *others = _lines(tmp_path / "s.jsonl")
    assert len(others) == SIZES.queries_per_video - 1
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == [f"qid{first['qid']}.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "tset"], "did you mean 'test'?"),
        (["--plot-qids", "0"], "in none of the 5 annotations: qid 0"),
        (["--plots", "0"], "--plots 0: expected 1 or more"),
        (["--plots-dir", "d"], "nothing to draw; add --plots N or --plot-qids"),
        (["--submission", str(ROOT)], f"--submission {ROOT}: is a folder; expected the name of a file"),
        (["--out", str(CONFIG / "m.json")], f"{CONFIG} is a file; expected a folder"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_model_runs(
    tool: Tool, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, output = tool(*arguments)
    assert status == 2 and message in output
    assert list(tmp_path.iterdir()) == []


def test_only_text_video_models_are_checked_for_leaks(tool: Tool) -> None:
    status, output = tool("--split", "val", "--leak-check")
    assert status == 2 and "a QDDETR is no text-video model" in output


def test_the_split_is_an_override_like_any_other(folder: Path, tmp_path: Path) -> None:
    options = [*SMALL[1:], f"data_root={folder / 'set'}"]  # profile=auto: the config is read twice
    given = {"config": str(CONFIG), "work_dir": str(tmp_path), "launcher": "none", "local_rank": 0}
    args = Namespace(**given, cfg_options=options, split="test")
    assert load_run_config(args).test_dataloader.dataset.split == "test"
    args.cfg_options = [*options, "test_dataloader.dataset.type=RepeatDataset"]
    with pytest.raises(ConfigError, match="RepeatDataset has no parameter 'split'"):
        load_run_config(args)


def test_metrics_that_write_no_submission() -> None:
    cfg = Config({"test_evaluator": {"type": "CIRRMetric"}})
    assert _choose_submission(cfg, None, "default") == []
    with pytest.raises(ConfigError, match="test_evaluator is CIRRMetric, which has no submission_file"):
        _choose_submission(cfg, "s.jsonl", "default")
