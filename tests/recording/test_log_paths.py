"""Where a gate log may go, judged before the evaluation."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.gate_log_hook import requested_gate_log
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues


def request(path: Path) -> None:
    cfg = Config({"work_dir": "w", "test_dataloader": {"dataset": {}}})
    flags = {"gate_log": True, "gate_sample_count": None, "gate_save_path": str(path)}
    assert requested_gate_log(argparse.Namespace(split="val", **flags), cfg) is not None


def fill(folder: Path, ids: list[str]) -> None:
    tap = GateTap("attention", 0.0, 1.0)
    with GateStoreWriter(folder, {"tap": tap}) as writer:
        if ids:
            writer.append(ids, [TapValues("tap", tap, 0, np.zeros((len(ids), 2, 1), np.float16), None)])


@pytest.mark.parametrize("part", ["", "rank3"])
def test_a_store_that_holds_samples_is_refused(tmp_path: Path, part: str) -> None:
    request(tmp_path / "gates")
    fill(tmp_path / "gates" / part, [])
    request(tmp_path / "gates")
    fill(tmp_path / "gates" / part, ["a"])
    with pytest.raises(ConfigError, match="holds the gates of an earlier evaluation.*name another folder"):
        request(tmp_path / "gates")


def test_files_in_the_way(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text("kept")
    for path in (held, held / "x", held / "x" / "log.jsonl"):
        with pytest.raises(ConfigError, match=f"--gate-save-path {held}.*: {held} is a file; expected a folder"):
            request(path)
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ConfigError, match="is a folder; expected a file"):
        request(tmp_path / "folder.jsonl")
    (tmp_path / "log.jsonl").write_text("an earlier log is replaced\n")
    request(tmp_path / "log.jsonl")
    assert held.read_text() == "kept" and len(list(tmp_path.iterdir())) == 3
