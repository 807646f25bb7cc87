"""Back to upstream: the same tensors under upstream's names, or a refusal with the measured error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch
from torch import Tensor

from gatefuse_plugins.checkpoints.migration import compare_files, inspect, make_plan, migrate, to_upstream
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError

GUIDED = {"type": "TextGuidedImageFusion", "text_proj": True, "norm_affine": True, "pool": "mean"}


def round_trip(folder: Path, old: Path, config: dict[str, Any]) -> tuple[dict[str, Tensor], Path]:
    made = migrate(make_plan(old, config), folder / "new.safetensors")
    result = to_upstream(made.path, folder / "back.ckpt")
    assert result.comparison is not None
    assert result.comparison.largest == 0
    return read_checkpoint(result.path).state_dict, result.path


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_qd_detr(tmp_path: Path, kind: str) -> None:
    old = files.qd_detr(tmp_path / "old.ckpt", kind)
    config = files.moments({"type": "Concat"} if kind == "audio" else None)
    state, path = round_trip(tmp_path, old, config)
    _assert_equal(state, read_checkpoint(old).state_dict)
    options = torch.load(path, weights_only=False)["opt"]
    assert (options.hidden_dim, options.v_feat_dim, options.nheads) == (256, 20, 8)
    assert inspect(path).identity.origin == "qd_detr"


def test_qd_detr_exp(tmp_path: Path) -> None:
    old = files.qd_detr_exp(tmp_path / "old.ckpt", "sigmoid_film_elementwise")
    fusion = {**files.AVIGATE_CUSTOM, "gating_type": "elementwise", "ffn_gate_film": True}
    state, path = round_trip(tmp_path, old, files.moments(fusion))
    _assert_equal(state, read_checkpoint(old).state_dict)
    assert inspect(path).identity.origin == "qd_detr_exp_sigmoid"


def test_gated_sprc(tmp_path: Path) -> None:
    old = files.sprc(tmp_path / "old.pt", gated=True)
    state, path = round_trip(tmp_path, old, {**files.COMPOSED, "fusion": GUIDED})
    before = read_checkpoint(old).state_dict
    renamed = {name.replace("gated_fusion.", "gated_fusion_module."): tensor for name, tensor in before.items()}
    _assert_equal(_without_buffers(state), _without_buffers(renamed))
    assert inspect(path).identity.origin == "gated_sprc"
    assert "Blip2QformerCirAlignPrompt" in torch.load(path, weights_only=True)


def test_avigate(tmp_path: Path) -> None:
    old = files.avigate(tmp_path / "old.bin")
    state, _path = round_trip(tmp_path, old, files.RETRIEVAL)
    _assert_equal(state, read_checkpoint(old).state_dict)


def test_scalar_gates_are_folded_into_the_weights(tmp_path: Path) -> None:
    gates = [files.slot("transformer.encoder.layers.*", branch) for branch in ("attention", "ffn")]
    config = files.injected(files.moments(), *gates)
    made = migrate(make_plan(files.qd_detr(tmp_path / "old.ckpt"), config), tmp_path / "new.safetensors")
    trained = {name: tensor.clone() for name, tensor in read_checkpoint(made.path).state_dict.items()}
    for name in trained:
        if name.endswith("_gate.raw"):
            trained[name] += 0.4
    torch.save({"model": trained}, tmp_path / "trained.pth")
    result = to_upstream(tmp_path / "trained.pth", tmp_path / "back.ckpt", config)
    assert result.comparison is not None
    assert result.comparison.equal
    comparison = compare_files(tmp_path / "trained.pth", tmp_path / "back.ckpt", config=files.moments())
    assert comparison.equal
    state = read_checkpoint(result.path).state_dict
    assert not any("_gate" in name for name in state)
    old = read_checkpoint(tmp_path / "old.ckpt").state_dict
    name = "transformer.encoder.layers.1.linear2.weight"
    torch.testing.assert_close(state[name], old[name] * (1 + torch.tanh(torch.tensor(0.4))))


def test_what_upstream_lacks_is_refused_with_the_error(tmp_path: Path) -> None:
    config = files.moments({"type": "QueryAwareTemporalGate"})
    made = migrate(make_plan(files.qd_detr(tmp_path / "old.ckpt"), config), tmp_path / "new.safetensors")
    state = {name: tensor.clone() for name, tensor in read_checkpoint(made.path).state_dict.items()}
    exact = to_upstream(made.path, tmp_path / "unlearned.ckpt")
    assert "left out: fusion QueryAwareTemporalGate" in exact.notes
    state["fusion.value.bias"] += 1
    torch.save(state, tmp_path / "trained.pth")
    with pytest.raises(CheckpointError, match=r"QD-DETR has no such model(.|\n)*full/pred_logits: 0\.\d+ of"):
        to_upstream(tmp_path / "trained.pth", tmp_path / "back.ckpt", config)
    assert not (tmp_path / "back.ckpt").exists()
    result = to_upstream(tmp_path / "trained.pth", tmp_path / "back.ckpt", config, allow_inexact=True)
    assert result.comparison is not None
    assert not result.comparison.equal


def _assert_equal(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(state) == set(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def _without_buffers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' versions differ in keeping position_ids."""
    return {name: tensor for name, tensor in state.items() if "position_ids" not in name}
