"""Gates travel alone: only parameters of gate modules, and into a host that fits."""

from __future__ import annotations

from pathlib import Path

import honest_files as files
import pytest
import torch

from gatefuse_plugins.checkpoints.migration import export_gates, import_gates, make_plan, migrate
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError

CUSTOM = {**files.AVIGATE_CUSTOM, "generation": "tanh"}


def test_gates_of_one_checkpoint_in_another(tmp_path: Path) -> None:
    gated = files.qd_detr_exp(tmp_path / "gated.ckpt", "tanh_global")
    exported = export_gates(gated, tmp_path / "gates.safetensors", files.moments(CUSTOM))
    gates = read_checkpoint(exported.path).state_dict
    old = torch.load(gated, weights_only=False)["model"]
    assert set(gates) == {name for name in old if name.startswith("fusion.")}
    assert exported.path.stat().st_size < 0.6 * gated.stat().st_size

    other = migrate(make_plan(files.qd_detr(tmp_path / "o.ckpt"), files.moments(CUSTOM)), tmp_path / "o.safetensors")
    merged = import_gates(exported.path, other.path, tmp_path / "both.safetensors")
    state, base = read_checkpoint(merged.path).state_dict, read_checkpoint(other.path).state_dict
    assert all(torch.equal(state[name], gates[name]) for name in gates)
    assert all(torch.equal(state[name], base[name]) for name in base if name not in gates)
    assert set(state) == set(base)
    assert merged.notes == []


def test_what_neither_file_holds_is_named(tmp_path: Path) -> None:
    gated = files.qd_detr_exp(tmp_path / "gated.ckpt", "tanh_global")
    exported = export_gates(gated, tmp_path / "gates.safetensors", files.moments(CUSTOM))
    merged = import_gates(exported.path, files.qd_detr(tmp_path / "o.ckpt"), tmp_path / "both.safetensors")
    assert "8 parameters are in neither file and start anew: input_aud_proj" in merged.notes[0]


def test_query_gates_and_folded_modules_are_found_by_structure(tmp_path: Path) -> None:
    config = {**files.RETRIEVAL, "query_gate": "scalar", "query_gate_scale": True}
    made = migrate(make_plan(files.avigate(tmp_path / "a.bin"), config), tmp_path / "a.safetensors")
    names = set(read_checkpoint(export_gates(made.path, tmp_path / "g.safetensors").path).state_dict)
    block = "transformerClip.resblocks.0"
    assert {name for name in names if name.startswith(block)} == {
        f"{block}.{name}"
        for name in (
            *("attn_gate.ag_fc.weight", "attn_gate.ag_proj.weight", "ff_gate.fg_fc.weight", "ff_gate.fg_proj.weight"),
            *("query_gate.qg_fc.weight", "query_gate.qg_proj.weight", "query_gate.outer_scale"),
        )
    }


def test_a_model_without_gates_and_gates_of_another_model(tmp_path: Path) -> None:
    plain = files.qd_detr(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="is of a model without gates"):
        export_gates(plain, tmp_path / "g.safetensors", files.moments())
    with pytest.raises(CheckpointError, match=r"lacks fusion\."):
        export_gates(plain, tmp_path / "g.safetensors", files.moments(CUSTOM))
    with pytest.raises(CheckpointError, match="name one with --config"):
        export_gates(plain, tmp_path / "g.safetensors")
    gated = files.qd_detr_exp(tmp_path / "b.ckpt", "tanh_global")
    gates = export_gates(gated, tmp_path / "g.safetensors", files.moments(CUSTOM)).path
    wider = files.moments({**CUSTOM, "gating_type": "elementwise"})
    with pytest.raises(CheckpointError, match=r"mlp_mha\.2\.weight: shape \(1, 128\), the config's \(256, 128\)"):
        import_gates(gates, plain, tmp_path / "both.safetensors", wider)
    assert not (tmp_path / "both.safetensors").exists()
