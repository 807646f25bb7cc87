"""``load_from``: any file into a live model, with a report."""

from __future__ import annotations

from pathlib import Path

import honest_files as files
import pytest
import torch

from gatefuse_plugins.checkpoints.migration import load_from_any, make_plan, migrate
from gatefuse_plugins.checkpoints.migration.families import family_of
from gatefuse_plugins.errors import CheckpointError

CONFIG = files.moments(files.AVIGATE_CUSTOM)


def test_old_and_migrated_files_give_the_same_model(tmp_path: Path) -> None:
    old = files.qd_detr(tmp_path / "old.ckpt")
    migrated = migrate(make_plan(old, CONFIG), tmp_path / "new.safetensors").path
    states = []
    for path in (old, migrated):
        model = family_of(CONFIG).starting(CONFIG, seed=5)
        report = load_from_any(model, path, CONFIG)
        states.append(model.state_dict())
        assert str(path) in report
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert "gatefuse, fusion AVIGATE custom" in report
    assert "264 kept" in report


def test_the_report_tells_start_and_findings(tmp_path: Path) -> None:
    config = {**files.COMPOSED, "fusion": {"type": "TextGuidedImageFusion", "text_proj": True, "norm_affine": True}}
    model = family_of(config).runnable(config)
    report = load_from_any(model, files.sprc(tmp_path / "a.pt", gated=True), config)
    assert "gated_sprc, fusion text-guided image fusion, residual: 129 kept, 15 renamed, 2 dropped" in report
    assert "skips its gate" in report


def test_a_query_gate_joins_a_trained_model(tmp_path: Path) -> None:
    """At first nothing changes; the scale moves at the first step, the gate's own weights at the second."""
    old = files.avigate(tmp_path / "old.bin")
    config = {**files.RETRIEVAL, "query_gate": "scalar", "query_gate_scale": True}
    family = family_of(config)
    plain, gated = (family.starting(chosen, seed=5) for chosen in (files.RETRIEVAL, config))
    load_from_any(plain, old, files.RETRIEVAL)
    report = load_from_any(gated, old, config)
    assert "9 new (start: identity)" in report
    batch = family.batches(config, 0)["padded"]
    expected, outputs = (family.outputs(model.eval(), batch) for model in (plain, gated))
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-6, atol=1e-6)
    optimizer = torch.optim.SGD(gated.parameters(), lr=10.0)  # the mix of 0.05 makes small gradients
    gate = gated.transformerClip.resblocks[0].query_gate
    start = gate.qg_fc.weight.clone()
    for step in range(2):
        optimizer.zero_grad()
        family.outputs(gated, batch)["similarity"].diagonal().sum().neg().backward()
        optimizer.step()
        assert gate.outer_scale != 0
        assert torch.equal(gate.qg_fc.weight, start) == (step == 0)


def test_nan_weights_are_told(tmp_path: Path) -> None:
    old = files.qd_detr(tmp_path / "old.ckpt")
    content = torch.load(old, weights_only=False)
    content["model"]["class_embed.bias"][0] = float("inf")
    torch.save(content, old)
    report = load_from_any(family_of(CONFIG).starting(CONFIG, seed=5), old, CONFIG)
    assert "warning: NaN or infinity in 1 tensors: class_embed.bias (1)" in report


def test_a_fault_leaves_the_model_alone(tmp_path: Path) -> None:
    model = family_of(CONFIG).starting(CONFIG, seed=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="left as it was"):
        load_from_any(model, files.qd_detr_exp(tmp_path / "a.ckpt", "tanh_global"), CONFIG)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
