"""tools/analyze_gates.py from the command line, on small models of every host."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gatefuse_plugins.config import load_config
from gatefuse_plugins.data.events import EventSetConfig, make_qvhighlights_events
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.jsonlines import GateLogEntry, to_line
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues
from gatefuse_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
TOOL = "tools/analyze_gates.py"
SMALL = ["profile=embedded", "profiles.embedded.hidden_dim=8", "profiles.embedded.dim_feedforward=8"]
FORK = """
import torch
from foreign_models import DIM, FusionStack, MomentModel


def build():
    torch.manual_seed(0)
    parts = {"src_txt": 3, "src_vid": 5, "src_aud": 5}
    batch = {name: torch.randn(2, length, DIM) for name, length in parts.items()}
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    named = {"sample_id": ["first", "second"], **batch, "src_vid_mask": mask}
    return MomentModel(FusionStack("clipwise", True)), [named, {**batch, "src_vid_mask": mask, "sample_id": [7, 8]}]
"""


def analyse(*arguments: str) -> int:
    """Run the tool in this process (imports cost seconds); gives its exit status."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", [TOOL, *arguments])
        runpy.run_path(str(ROOT / TOOL), run_name="__main__")
    return ended.value.code


def save_untrained(config: str, options: list[str], path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS.build(load_config(ROOT / config, options).model)
    torch.save({"state_dict": model.state_dict(), "meta": {}, "message_hub": {}}, path)


def test_moment_retrieval_with_interventions(tmp_path: Path) -> None:
    sizes = EventSetConfig(num_train_videos=1, num_val_videos=2, num_test_videos=1, min_clips=20, max_clips=24)
    make_qvhighlights_events(tmp_path / "set", sizes)
    config = "configs/qvhighlights_avigate_clipwise.py"
    save_untrained(config, SMALL, tmp_path / "untrained.pth")
    found = tmp_path / "found"
    log = tmp_path / "log.csv"
    name = "fusion.fusion_layers.0.gating_function.attention_tap"
    log.write_text(f"step,epoch,split,seconds,gates/{name}/mean\n10,1,train,1.0,0.25\n")
    given = ["--config", config, "--checkpoint", str(tmp_path / "untrained.pth"), "--data-path", str(tmp_path / "set")]
    asked = ["--split", "val", "--intervene", "mean", "--max-samples", "1", "--save-raw-data", "--out", str(found)]
    assert analyse(*given, *asked, "--training-log", str(log), "--cfg-options", *SMALL) == 0
    overall = json.loads((found / "overall_statistics.json").read_text())
    assert overall["total_samples"] == 10 and overall["num_layers"] == 2 and overall["gating_type"] == "clipwise"
    (details,) = (found / "individual_samples").glob("*.json")
    sample = json.loads(details.read_text())
    assert sample["query"] and 0 <= sample["outcomes"]["MR-full-mIoU"] <= 100
    saved = np.load(found / "raw_data" / f"{sample['sample_id']}_layer0_att.npy")
    assert [*saved.shape] == sample["layer_analysis"][0]["attention_gate"]["shape"] and saved.shape[1] == 1
    rows = json.loads((found / "interventions.json").read_text())["rows"]
    assert {row["intervention"] for row in rows} == {"mean"}
    tables = json.loads((found / "analyses.json").read_text())
    assert tables["evolution"]["gates"][0]["label"] == "attention, layer 0"
    assert tables["correlations"]["unit"] == "videos"  # gates of this fusion do not see the query
    text = (found / "ANALYSIS_REPORT.md").read_text()
    assert "an embedded set: figures are not of the real one" in text and "## Interventions" in text
    assert (found / "report.html").stat().st_size > 10_000


def test_logs_and_stores_are_compared(tmp_path: Path) -> None:
    tap, rng = GateTap("attention", 0.0, 1.0, 0.0, 0), np.random.default_rng(0)
    with GateStoreWriter(tmp_path / "store", {"f.tap": tap}) as writer:
        values = rng.random((6, 4, 2)).astype(np.float16)
        writer.append([f"q{at}" for at in range(6)], [TapValues("f.tap", tap, 0, values, None)])
    entries = [
        GateLogEntry(f"q{at}", "v", "clipwise", [{"gate_mha": np.full((4, 1), at / 9, np.float32)}]) for at in range(5)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(to_line, entries)) + "\n")
    logs = ["--log", f"old={tmp_path / 'store'}", f"new={tmp_path / 'log.jsonl'}", "--compare-samples", "q1", "q5"]
    (tmp_path / "my_gates_module.py").write_text(
        "from gatefuse_plugins.registry import ANALYSES\n\n\n"
        "@ANALYSES.register_module(name='largest')\ndef largest(summary):\n    return summary.total_maximum.tolist()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert analyse(*logs, "--imports", "my_gates_module", "--max-samples", "0", "--out", str(tmp_path / "o")) == 0
    from gatefuse_plugins.registry import ANALYSES

    ANALYSES.module_dict.pop("largest")
    tables = json.loads((tmp_path / "o" / "analyses.json").read_text())
    assert tables["runs"]["names"] == ["old", "new"] and tables["runs"]["samples"] == [6, 5]
    assert tables["runs"]["paired"][0]["n"] == 5 and [one["id"] for one in tables["comparison"]["samples"]] == [
        "q1",
        "q5",
    ]
    assert tables["extra"]["largest"] == [pytest.approx(float(values.max()))]
    assert len(list((tmp_path / "o" / "individual_samples").glob("*.png"))) == 2


def test_text_video_retrieval_records_a_video_with_its_own_caption(tmp_path: Path) -> None:
    config = "configs/msrvtt_avigate_query_gate.py"
    options = ["embedded.num_train_videos=26", "embedded.num_test_videos=12", "embedded.captions_per_video=2"]
    options += [f"data_root={tmp_path / 'none'}", f"embedded.root={tmp_path / 'set'}", "val_videos=10"]
    options += ["profiles.embedded.num_frames=2", "profile=embedded"]
    save_untrained(config, options, tmp_path / "untrained.pth")
    given = ["--config", config, "--checkpoint", str(tmp_path / "untrained.pth"), "--max-samples", "1"]
    assert analyse(*given, "--out", str(tmp_path / "o"), "--cfg-options", *options) == 0
    overall = json.loads((tmp_path / "o" / "overall_statistics.json").read_text())
    assert overall["total_samples"] == 12 and overall["query_gates"]["mean"] is not None
    assert all(not name.startswith("network.") for name in overall["gates"])
    text = (tmp_path / "o" / "ANALYSIS_REPORT.md").read_text()
    assert "Recorded is each video with its own first caption" in text
    (details,) = (tmp_path / "o" / "individual_samples").glob("*.json")
    assert {"t2v_R@1", "t2v_MeanR"} <= json.loads(details.read_text())["outcomes"].keys()


def test_a_fork_gets_taps_and_its_batches_names(tmp_path: Path) -> None:
    (tmp_path / "my_fork.py").write_text(FORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        patch.syspath_prepend(ROOT / "tests" / "checkpoints" / "legacy")
        assert analyse("--legacy-model", "my_fork:build", "--out", str(tmp_path / "o")) == 0
    overall = json.loads((tmp_path / "o" / "overall_statistics.json").read_text())
    assert overall["total_samples"] == 4 and overall["gating_type"] == "clipwise"
    assert {"attention_gates", "ffn_gates"} <= overall.keys()
    sample = json.loads((tmp_path / "o" / "individual_samples" / "second_details.json").read_text())
    assert sample["num_layers"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of --config, --log, --legacy-model and --demo is needed; given: none"),
        (["--demo", "--log", "x"], "given: --log, --demo"),
        (["--config", "c.py"], "--config and --checkpoint go together"),
        (["--log", "x.jsonl", "--intervene"], "--intervene evaluates a model"),
        (["--log", "nothing.jsonl"], "nothing.jsonl: cannot be read"),
        (["--log", "a=x", "a=y"], "two logs are called a, a"),
        (["--log", "x", "--num-samples", "0"], "--num-samples 0: expected a number from 1, or -1 for all"),
        (["--log", "x", "--imports", "no_such_module"], "--imports no_such_module: cannot be imported"),
        (["--legacy-model", "json:no_function"], "json has no function 'no_function'"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyse(*arguments, "--out", str(tmp_path / "o")) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_composed_retrieval_has_gate_maps(smoke: tuple[Path, str], workshop: object, tmp_path: Path) -> None:
    options: Callable[[], list[str]] = workshop.options  # type: ignore[attr-defined]
    (checkpoint,) = sorted(smoke[0].glob("best_*.pth"))[:1]
    given = ["--config", "configs/cirr_smoke.py", "--checkpoint", str(checkpoint), "--max-samples", "2"]
    assert analyse(*given, "--out", str(tmp_path / "o"), "--cfg-options", *options()) == 0
    assert (tmp_path / "o" / "gate_map.png").stat().st_size > 10_000
    (details, _) = sorted((tmp_path / "o" / "individual_samples").glob("*.json"))
    assert json.loads(details.read_text())["outcomes"]["MeanR"] >= 1
