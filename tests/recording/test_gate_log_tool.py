"""tools/test.py --gate-log on a small event set and on small clips."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from gatefuse_plugins.config import load_config
from gatefuse_plugins.data.clips import ClipSetConfig, make_msrvtt_clips
from gatefuse_plugins.data.events import EventSetConfig, make_qvhighlights_events
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.recording.gate_log_hook import requested_gate_log
from gatefuse_plugins.recording.jsonlines import read_gate_log
from gatefuse_plugins.recording.store_reader import GateStore
from gatefuse_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "qvhighlights_avigate_clipwise.py"
SIZES = EventSetConfig(num_train_videos=1, num_val_videos=1, num_test_videos=1, min_clips=20, max_clips=24)
CLIPS = ClipSetConfig(num_train_videos=26, num_test_videos=13, captions_per_video=1, num_frames=3, image_size=16)
SMALL = ["profile=embedded", "profiles.embedded.hidden_dim=8", "profiles.embedded.dim_feedforward=8"]


def run_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> tuple[int, str]:
    """Exit status and output of ``tools/test.py``, run in this process."""
    monkeypatch.setattr(sys, "argv", ["tools/test.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools" / "test.py"), run_name="__main__")
    printed = capsys.readouterr()
    return ended.value.code, printed.out + printed.err


def test_log_of_the_first_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_qvhighlights_events(tmp_path / "set", SIZES)
    torch.manual_seed(0)
    model = MODELS.build(load_config(CONFIG, SMALL).model)
    torch.save({"state_dict": model.state_dict(), "meta": {}, "message_hub": {}}, tmp_path / "untrained.pth")
    given = [str(CONFIG), str(tmp_path / "untrained.pth"), "--work-dir", str(tmp_path / "run"), "--split", "val"]
    flags = ["--gate-log", "--gate-sample-count", "2"]
    options = ["--cfg-options", *SMALL, f"data_root={tmp_path / 'set'}"]
    status, printed = run_tool(monkeypatch, capsys, [*given, *flags, *options])
    assert status == 0, printed
    entries = list(read_gate_log(tmp_path / "run" / "gate_logs_val_N2.jsonl"))
    assert len(entries) == 2 and entries[0].gating_type == "clipwise"
    for gates in entries[0].layer_gates:
        assert gates["gate_mha"].shape == gates["gate_ffn"].shape
        assert 20 <= len(gates["gate_mha"]) <= 24 and gates["gate_mha"].shape[1] == 1


@pytest.mark.parametrize("kind, said", [("", "each video once"), ("_query_gate", "its first caption alone")])
def test_log_of_text_video_retrieval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, said: str
) -> None:
    make_msrvtt_clips(tmp_path / "set", CLIPS)
    config = ROOT / "configs" / f"msrvtt_avigate{kind}.py"
    options = ["profile=embedded", f"data_root={tmp_path / 'set'}"]
    model = MODELS.build(load_config(config, options).model)
    torch.save({"state_dict": model.state_dict(), "meta": {}, "message_hub": {}}, tmp_path / "untrained.pth")
    given = [str(config), str(tmp_path / "untrained.pth"), "--work-dir", str(tmp_path / "run"), "--gate-log"]
    flags = ["--gate-sample-count", "3", "--gate-save-path"]
    for path in ("log.jsonl", "store"):
        status, printed = run_tool(
            monkeypatch, capsys, [*given, *flags, str(tmp_path / path), "--cfg-options", *options]
        )
        assert status == 0, printed
        assert f"gates of 3 samples written to {tmp_path / path}: each video" in printed and said in printed
    entries, store = list(read_gate_log(tmp_path / "log.jsonl")), GateStore(tmp_path / "store")
    assert [entry.qid for entry in entries] == [entry.vid for entry in entries] == list(store.samples)
    assert len(entries) == 3 and len(entries[0].layer_gates) == 2
    gates = entries[2].layer_gates[1]
    assert set(gates) == {"gate_mha", "gate_ffn"} | ({"gate_query"} if kind else set())
    (name,) = (name for name, tap in store.taps.items() if tap["kind"] == "attention" and tap["layer"] == 1)
    assert store.read(entries[2].qid, name).item() == pytest.approx(gates["gate_mha"].item(), abs=1e-3)


def test_flags_without_gate_log_are_refused() -> None:
    cfg = Config({"work_dir": "w", "test_dataloader": {"dataset": {"split": "val"}}})
    args = argparse.Namespace(split=None, gate_log=False, gate_sample_count=3, gate_save_path=None)
    with pytest.raises(ConfigError, match="--gate-sample-count 3: nothing is logged; add --gate-log"):
        requested_gate_log(args, cfg)
    args.gate_log = True
    hook = requested_gate_log(args, cfg)
    assert hook is not None and (hook.folder, hook.split, hook.sample_count) == ("w", "val", 3)
    args.gate_sample_count = -2
    with pytest.raises(ConfigError, match="expected 1 or more, or -1"):
        requested_gate_log(args, cfg)
