"""``tools/migrate.py`` from the command line: what it prints, writes and returns."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import honest_files as files
import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("migrate_tool", ROOT / "tools" / "migrate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config whose model fits the oracle's checkpoints; `profile` picks the widths, as in our own configs."""
    path = tmp_path / "target.py"
    wide, narrow = {**files.MOMENTS, "audio_dim": 14}, {**files.MOMENTS, "hidden_dim": 32, "audio_dim": 14}
    keys = ", ".join(f"{key}='${{profiles.${{profile}}.{key}}}'" for key in wide)
    path.write_text(
        "profile = 'auto'\n"
        f"profiles = dict(auto='${{profiles.narrow}}', narrow={narrow}, wide={wide})\n"
        f"fusion = {files.AVIGATE_CUSTOM}\n"
        f"model = dict(type='QDDETR', fusion='${{fusion}}', {keys})\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))\n"
    )
    return path


def test_from_guide_to_upstream(
    tool: ModuleType, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(files.qd_detr(tmp_path / "model_best.ckpt"))
    new, gates = str(tmp_path / "new.safetensors"), str(tmp_path / "gates.safetensors")
    assert tool.main(["guide", old]) == 0
    assert f"tools/migrate.py plan {old} --config configs/qvhighlights_avigate.py" in capsys.readouterr().out
    assert tool.main(["plan", old, "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "chosen for this checkpoint: profile=wide" in printed
    assert "can be run; outputs stay what they were" in printed
    assert tool.main(["run", old, "--config", str(config), "--out", new]) == 0
    assert "equal in float32" in capsys.readouterr().out
    assert tool.main(["verify", old, new]) == 0
    assert tool.main(["guide", new]) == 0
    assert f"load_from={new}" in capsys.readouterr().out
    assert tool.main(["export-gates", new, "--out", gates]) == 0
    assert tool.main(["import-gates", gates, new, "--out", str(tmp_path / "both.safetensors")]) == 0
    assert tool.main(["to-upstream", new, "--out", str(tmp_path / "back.ckpt")]) == 0
    assert sorted(torch.load(tmp_path / "back.ckpt", weights_only=False)) == ["epoch", "model", "opt"]


def test_json_of_inspect_and_plan(
    tool: ModuleType, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(files.qd_detr(tmp_path / "model_best.ckpt"))
    assert tool.main(["inspect", old, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["identity"]["origin"] == "qd_detr"
    assert tool.main(["plan", old, "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"kept": 178, "new": 86}


def test_faults_write_nothing_and_name_what_fits(
    tool: ModuleType, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = str(files.qd_detr(tmp_path / "model_best.ckpt"))
    arguments = ["--config", str(config), "--cfg-options", "profile=narrow"]
    out = tmp_path / "new.safetensors"
    assert tool.main(["run", old, *arguments, "--out", str(out)]) == 2
    assert "fits better: --cfg-options profile=wide" in capsys.readouterr().out
    assert not out.exists()
    assert tool.main(["plan", old, *arguments]) == 1


def test_errors_are_one_message_without_traceback(
    tool: ModuleType, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    assert tool.main(["inspect", str(tmp_path / "broken.pt")]) == 2
    assert tool.main(["inspect", str(tmp_path / "absent.pt")]) == 2
    assert tool.main(["plan", str(tmp_path / "absent.pt"), "--config", str(config)]) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 3
    assert "Traceback" not in printed
