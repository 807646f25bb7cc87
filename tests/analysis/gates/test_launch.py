"""What the tool does with its arguments, before and after the gates are read."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from gatefuse_plugins.errors import ConfigError, GatefuseError
from gatefuse_plugins.launch_analysis import launch_analysis
from gatefuse_plugins.recording.jsonlines import GateLogEntry, to_line

TOOL = Path(__file__).resolve().parents[3] / "tools" / "analyze_gates.py"
FORK = """
from torch import nn

def five():
    return 5

def pair():
    return 1, 2

def argument(needed):
    return nn.Linear(2, 2), []
"""


def parse(*given: str) -> argparse.Namespace:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(TOOL), *given])
        found: argparse.Namespace = runpy.run_path(str(TOOL))["parse_args"]()
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Five samples with an attention gate in two layers and an FFN gate in the first."""
    lines = []
    for at in range(5):
        gates = [{"gate_mha": np.full((4, 1), (at + layer) / 9, np.float32)} for layer in range(2)]
        gates[0]["gate_ffn"] = np.full((4, 1), at / 7, np.float32)
        lines.append(to_line(GateLogEntry(f"q{at}", "v", "clipwise", gates)))
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_num_samples_bounds_single_samples_of_a_store_too(log: Path, tmp_path: Path) -> None:
    from gatefuse_plugins.analysis.gates.sources_log import LogGateData
    from gatefuse_plugins.launch_analysis import analyse
    from gatefuse_plugins.launch_analysis_sources import Source

    args = parse("--log", str(log), "--num-samples", "2", "--compare-samples", "q4", "--out", str(tmp_path / "o"))
    report = analyse(Source(LogGateData(log)), args)
    assert len(report.summary.samples) == 2
    assert [one.sample.id for one in report.individuals] == ["q0", "q1", "q4"]


def test_gates_of_a_log_are_selected(log: Path, tmp_path: Path) -> None:
    given = ["--log", str(log), f"again={log}", "--max-samples", "1", "--out", str(tmp_path / "o")]
    launch_analysis(parse(*given, "--select", "**.attention"))
    overall = json.loads((tmp_path / "o" / "overall_statistics.json").read_text())
    assert list(overall["gates"]) == ["layer_0.attention", "layer_1.attention"]
    with pytest.raises(GatefuseError, match=r"layer_7\.\*"):
        launch_analysis(parse(*given, "--select", "layer_7.*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--split", "val"], "--split val: has no effect here; it needs --config with --checkpoint"),
        (["--data-path", "p"], "--data-path p: has no effect"),
        (["--cfg-options", "a=1", "b=2"], "--cfg-options a=1 b=2: has no effect"),
        (["--work-dir", "w"], "--work-dir w: has no effect"),
        (["--trust"], "--trust: has no effect"),
        (["--launcher", "pytorch"], "--launcher pytorch: gates are analysed in one process"),
    ],
)
def test_flags_without_effect_are_refused(flags: list[str], message: str, tmp_path: Path) -> None:
    for source in (["--log", "never-read"], ["--legacy-model", "never:imported"]):
        with pytest.raises(ConfigError, match=message):
            launch_analysis(parse(*source, *flags, "--out", str(tmp_path / "o")))


def test_a_file_at_the_folder_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(ConfigError, match=f"--out {out}: {tmp_path / 'file'} is a file; expected a folder"):
            launch_analysis(parse("--log", "never-read", "--out", str(out)))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json", "--legacy-model json: expected MODULE:FUNCTION"),
        ("odd_fork:five", r"returned a int; expected \(model, loader\)"),
        ("odd_fork:pair", r"returned \(int, int\); expected a torch.nn.Module and batches"),
        ("odd_fork:argument", r"failed: TypeError: argument\(\) missing .*needed"),
        ("odd_fork:absent", "odd_fork has no function 'absent'"),
        ("torn_fork:build", "torn_fork: cannot be imported: SyntaxError"),
    ],
)
def test_forks_that_are_none(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_fork.py").write_text(FORK)
    (tmp_path / "torn_fork.py").write_text("def build(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message):
        launch_analysis(parse("--legacy-model", name, "--out", str(tmp_path / "o")))
    with pytest.raises(ConfigError, match="torn_fork: cannot be imported"):
        launch_analysis(parse("--log", "never-read", "--with", "torn_fork", "--out", str(tmp_path / "o")))
