"""``tools/migrate.py`` from the command line: what it prints, writes and returns."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import honest_files as files
import pytest
import torch

from gatefuse_plugins.checkpoints.migration.families import family_of
from gatefuse_plugins.config import load_config

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
    command = f"tools/train.py {config} --cfg-options profile=wide load_from={new}"
    assert command in capsys.readouterr().out.splitlines()[-1]
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


def test_what_is_not_exact_is_measured_and_shown(
    tool: ModuleType, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published start, the other generation of gates, gated audio for concatenated: each on request only."""
    plain, concat = files.qd_detr(tmp_path / "a.ckpt"), files.qd_detr(tmp_path / "b.ckpt", "audio")
    tanh = files.qd_detr_exp(tmp_path / "c.ckpt", "tanh_global")
    for number, (old, request) in enumerate(
        [(plain, "--init=balanced"), (tanh, "--allow-inexact"), (concat, "--allow-inexact")]
    ):
        arguments = ["run", str(old), "--config", str(config), "--out", str(tmp_path / f"{number}.safetensors")]
        if request == "--allow-inexact":
            assert tool.main(arguments) == 2
            assert "--allow-inexact does it and shows the measured error" in capsys.readouterr().out
        assert tool.main([*arguments, request]) == 0
        printed = capsys.readouterr().out
        assert "not equal" in printed
        (row,) = [line for line in printed.splitlines() if "full/pred_spans" in line]
        assert float(row.split("│")[2]) > 1e-4


def test_nan_weights_are_shown(
    tool: ModuleType, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = files.qd_detr(tmp_path / "old.ckpt")
    content = torch.load(old, weights_only=False)
    content["model"]["class_embed.bias"][:] = float("nan")
    torch.save(content, old)
    assert tool.main(["inspect", str(old)]) == 0
    assert "NaN or infinity: class_embed.bias (2)" in capsys.readouterr().out
    for name in ("new.safetensors", "new.pth"):
        assert tool.main(["run", str(old), "--config", str(config), "--out", str(tmp_path / name)]) == 0
        printed = capsys.readouterr().out
        assert "warning: NaN or infinity in 1 tensors, as in the source: class_embed.bias (2)" in printed


def test_our_own_config_with_injected_gates(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(ROOT / "configs/cirr_ungated.py").model.to_dict()
    state = family_of(config).runnable(config).state_dict()
    torch.save({"epoch": 3, "Blip2QformerCirAlignPrompt": state}, tmp_path / "old.pt")
    target = ["--config", str(ROOT / "configs/cirr_qformer_gates.py"), "--out", str(tmp_path / "new.safetensors")]
    assert tool.main(["run", str(tmp_path / "old.pt"), *target]) == 0
    printed = capsys.readouterr().out
    assert "equal in float32" in printed
    assert "4 new" in printed


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
