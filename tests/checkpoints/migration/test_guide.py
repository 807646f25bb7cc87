"""What a stranger's file says is shown and quoted, never run; the commands that are named work."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch
from safetensors.torch import save_file
from test_behaviour import WIDE, own

from gatefuse_plugins.checkpoints.migration import (
    export_gates,
    import_gates,
    inspect,
    load_from_any,
    make_plan,
    migrate,
    to_upstream,
)
from gatefuse_plugins.checkpoints.migration.comparison import Comparison, measure
from gatefuse_plugins.checkpoints.migration.families import family_of
from gatefuse_plugins.checkpoints.migration.guide import guide
from gatefuse_plugins.errors import CheckpointError

CUSTOM = {"type": "AvigateCustomFusion", "fusion_layers": 1}


def test_the_command_is_quoted_and_holds_known_values_only(tmp_path: Path) -> None:
    (tmp_path / "a; touch b").mkdir()
    path = files.qd_detr_exp(tmp_path / "a; touch b" / "$(id).ckpt", "tanh_global", gating_type="global; touch c #")
    words = shlex.split(guide(path)[-1])
    assert words[:4] == ["python", "tools/migrate.py", "plan", str(path)]
    assert "fusion.gating_type=global" in words
    assert not any("touch c" in word for word in words)


def test_saved_options_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = files.qd_detr_exp(tmp_path / "a.ckpt", "tanh_global", note="\x1b[31mred\nfusion: none")
    lines = inspect(path).lines()
    assert all(line.isprintable() for line in [*lines, *guide(path)])
    assert any("note=\\x1b[31mred\\nfusion: none" in line for line in lines)


@pytest.mark.parametrize(
    "record",
    [
        {"config": 5},
        {"model": "x"},
        {"model": {"type": 3}},
        {"model": {"type": "QDDETR", "layer_gates": [1]}},
        {"model": {"type": "QDDETR", "layer_gates": [{"branch": 1}]}},
        {"model": {"type": "Injected", "host": "QDDETR", "injection": [5]}},
        {"model": {"type": "QDDETR", "fusion": [1]}},
        [1],
    ],
)
def test_damaged_records_are_errors_of_this_project(tmp_path: Path, record: Any) -> None:
    save_file({"w": torch.ones(1)}, tmp_path / "a.safetensors", {"gatefuse_migration": json.dumps(record)})
    with pytest.raises(CheckpointError, match="migration record"):
        guide(tmp_path / "a.safetensors")


def test_a_record_without_a_sound_config_name(tmp_path: Path) -> None:
    for text in ('unbalanced " quote', "--work-dir=x", "a.py --resume"):
        save_file(
            {"w": torch.ones(1)}, tmp_path / "a.safetensors", {"gatefuse_migration": json.dumps({"config": text})}
        )
        with pytest.raises(CheckpointError, match="its record names the config"):
            guide(tmp_path / "a.safetensors")


def test_gates_alone_lead_to_import_gates(tmp_path: Path) -> None:
    config = files.moments(CUSTOM)
    path = own(tmp_path / "own.pth", config)
    gates = export_gates(path, tmp_path / "gates.safetensors").path
    assert shlex.split(guide(gates)[-1])[2:5] == ["import-gates", str(gates), "CHECKPOINT"]
    with pytest.raises(CheckpointError, match="holds gates alone.*import-gates"):
        load_from_any(family_of(config).starting(config, seed=0), gates, config)
    both = import_gates(gates, path, tmp_path / "both.safetensors").path
    words = shlex.split(guide(both)[-1])
    assert words[1:3] == ["tools/train.py", "configs/qvhighlights_avigate.py"]
    assert words[-1] == f"load_from={both}"


def test_a_published_query_gate_is_exported_and_imported(tmp_path: Path) -> None:
    gated, plain = ({**WIDE, "query_gate": kind} for kind in ("scalar", "off"))
    gates = export_gates(own(tmp_path / "gated.pth", gated), tmp_path / "gates.safetensors").path
    both = import_gates(gates, own(tmp_path / "plain.pth", plain), tmp_path / "both.safetensors").path
    assert make_plan(both, gated).counts() == {"kept": len(family_of(gated).skeleton(gated).state_dict())}


def test_own_retrieval_checkpoints_keep_their_options(tmp_path: Path) -> None:
    words = guide(own(tmp_path / "own.pth", {**WIDE, "query_gate": "scalar", "layer_decay": "fixed"}))[-1].split()
    assert {"model.query_gate=scalar", "model.layer_decay=fixed", "model.num_heads=1"} <= set(words)


def test_training_goes_on_only_with_an_optimizer(tmp_path: Path) -> None:
    path = own(tmp_path / "own.pth", files.moments())
    assert not any("training can go on" in line for line in guide(path))
    torch.save(torch.load(path, weights_only=False) | {"optimizer": {"state": {}}}, path)
    assert any("training can go on" in line for line in guide(path))


def test_files_without_a_single_state_dict_are_described(tmp_path: Path) -> None:
    part = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    for content, groups in (
        ({"G": part, "D": part, "step": 3}, {"G": 2, "D": 2}),
        ({"model": {"enc": part, "dec": part}}, {"model": 4}),
        ({**part, "version": 3}, {"weight": 1, "bias": 1}),
    ):
        torch.save(content, tmp_path / "a.pt")
        found = inspect(tmp_path / "a.pt")
        assert (found.identity.origin, found.groups) == ("unknown", groups)
        assert "no single state dict" in found.layout
        with pytest.raises(CheckpointError, match="state dict"):
            make_plan(tmp_path / "a.pt", WIDE)
    torch.save({"model": part, "ema": part}, tmp_path / "a.pt")
    assert inspect(tmp_path / "a.pt").layout == "torch.save, weights under 'model'; not looked at: those under 'ema'"


def test_nothing_finite_is_not_equal(tmp_path: Path) -> None:
    nothing = {"full": {"a": torch.full((2,), float("nan")), "b": torch.full((1,), float("inf"))}}
    comparison = Comparison(*measure(nothing, nothing))
    assert not comparison.equal
    assert comparison.lines()[-1] == "nothing finite to compare"
    part = {"full": {"a": torch.tensor([float("nan"), 1.0])}}
    assert Comparison(*measure(part, part)).equal


def test_the_epoch_travels_through_the_record(tmp_path: Path) -> None:
    first = migrate(make_plan(files.qd_detr(tmp_path / "a.ckpt"), files.moments()), tmp_path / "b.safetensors")
    assert inspect(first.path).epoch == 7
    assert inspect(to_upstream(first.path, tmp_path / "c.ckpt").path).epoch == 7
