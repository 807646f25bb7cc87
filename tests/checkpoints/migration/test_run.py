"""What is written is the plan and nothing else; the new model is the old one until its gates learn."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch
from safetensors import safe_open
from torch import nn

from gatefuse_plugins.checkpoints.migration import compare_files, inspect, make_plan, migrate
from gatefuse_plugins.checkpoints.migration.families import family_of
from gatefuse_plugins.checkpoints.migration.verify import new_values
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError

CUSTOM = files.AVIGATE_CUSTOM
GUIDED = {"type": "TextGuidedImageFusion"}
SCALED = {"query_gate": "scalar", "query_gate_scale": True}
SCALAR_GATES = files.slot("transformer.encoder.layers.*", "attention")
QFORMER = "Qformer.bert.encoder.layer"
QFORMER_GATES = (
    {"pattern": f"{QFORMER}.{{0,2}}.crossattention.output.dense", "gate": {"type": "ResidualGate"}},
    {"pattern": f"{QFORMER}.*.output_query.dense", "gate": {"type": "ResidualGate", "granularity": "clipwise"}},
)
VIDEO_GATES = {"pattern": "transformerClip.resblocks.*.mlp.c_proj", "gate": {"type": "ResidualGate", "kind": "ffn"}}
ADDITIONS: list[tuple[str, dict[str, Any]]] = [
    ("moments", files.moments({**CUSTOM, "ffn_gate_film": True, "gating_type": "elementwise"})),
    ("moments", files.moments({**CUSTOM, "generation": "tanh"})),
    ("moments", files.moments({"type": "QueryAwareTemporalGate"})),
    ("moments", files.injected(files.moments(), SCALAR_GATES)),
    ("composed", files.injected(files.COMPOSED, *QFORMER_GATES)),
    ("composed", files.injected({**files.COMPOSED, "fusion": GUIDED}, *QFORMER_GATES)),
    ("retrieval", files.injected({**files.RETRIEVAL, **SCALED}, VIDEO_GATES)),
    ("composed", {**files.COMPOSED, "fusion": GUIDED}),
    ("composed", {**files.COMPOSED, "fusion": {**GUIDED, "strategy": "weighted"}}),
    ("composed", {**files.COMPOSED, "fusion": {"type": "TextGuidedSpatialAttention"}}),
    ("composed", {**files.COMPOSED, "fusion": {"type": "SequentialFusion", "fusions": [GUIDED]}}),
    ("retrieval", {**files.RETRIEVAL, **SCALED}),
    ("retrieval", {**files.RETRIEVAL, **SCALED, "dual_path": True, "text_gates": True, "gate_pooling": "attention"}),
    ("retrieval", {**files.RETRIEVAL, **SCALED, "query_gate": "headwise", "text_alignment": "attention"}),
]
SOURCES = {
    "moments": lambda folder: files.qd_detr(folder / "old.ckpt"),
    "composed": lambda folder: files.sprc(folder / "old.pt"),
    "retrieval": lambda folder: files.avigate(folder / "old.bin"),
}
NAMES = [f"{kind}-{index}" for index, (kind, _config) in enumerate(ADDITIONS)]


@pytest.mark.parametrize(("kind", "config"), ADDITIONS, ids=NAMES)
def test_outputs_stay_and_every_new_parameter_learns_by_the_second_step(
    tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    plan = make_plan(SOURCES[kind](tmp_path), config)
    result = migrate(plan, tmp_path / "new.safetensors")
    assert result.comparison is not None
    assert result.comparison.largest <= 1e-6 * max(result.comparison.scales.values())
    new = [row.new for row in plan.named("new") if row.new]
    assert new
    assert set(new) - _moved(config, read_checkpoint(result.path).state_dict, new, steps=2) == set()


def _moved(config: dict[str, Any], state: dict[str, torch.Tensor], new: list[str], steps: int) -> set[str]:
    """New parameters that have a gradient within so many steps of plain gradient descent."""
    family = family_of(config)
    model = family.runnable(config)
    model.load_state_dict(state, strict=False)
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in new}
    moved = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    for step in range(steps):
        outputs = family.outputs(model, family.batches(config, step)["padded"])
        targets = [torch.randn(value.shape, generator=torch.Generator().manual_seed(9)) for value in outputs.values()]
        pairs = zip(outputs.values(), targets, strict=True)
        loss = torch.stack([nn.functional.mse_loss(value, target) for value, target in pairs]).sum()
        if "prompt_tokens" in parameters:
            loss = loss + model.prompt_tokens.square().sum()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, parameter in parameters.items():
                if parameter.grad is not None and parameter.grad.any():
                    moved.add(name)
                    parameter -= 0.1 * parameter.grad
    return moved


def test_query_gate_opens_in_two_steps(tmp_path: Path) -> None:
    """The scale has a gradient at the first step, when the gate has none; the gate one at the second."""
    config = {**files.RETRIEVAL, **SCALED}
    plan = make_plan(files.avigate(tmp_path / "old.bin"), config)
    values = {name: tensor.clone() for name, tensor in new_values(plan).items()}
    new = [row.new for row in plan.named("new") if row.new]
    scales = {name for name in new if name.endswith("outer_scale")}
    assert all(values[name] == 0 for name in scales)
    assert _moved(config, values, new, steps=1) == scales
    assert _moved(config, values, new, steps=2) == set(new)


@pytest.mark.parametrize(
    ("variant", "fusion"),
    [
        ("tanh_global", {"generation": "tanh", "gating_type": "global"}),
        ("tanh_global", {"generation": "tanh", "gating_type": "global", "fusion_layers": 3}),
        ("sigmoid_clipwise", {"gating_type": "clipwise", "pool": "mean"}),
        ("sigmoid_film_elementwise", {"gating_type": "elementwise", "ffn_gate_film": True}),
    ],
)
def test_both_generations_stay_what_they_are(tmp_path: Path, variant: str, fusion: dict[str, Any]) -> None:
    path = files.qd_detr_exp(tmp_path / "old.ckpt", variant)
    result = migrate(make_plan(path, files.moments({**CUSTOM, **fusion})), tmp_path / "new.safetensors")
    assert result.comparison is not None
    assert result.comparison.largest == 0


def test_inexact_changes_are_measured(tmp_path: Path) -> None:
    path = files.qd_detr_exp(tmp_path / "old.ckpt", "tanh_global")
    result = migrate(make_plan(path, files.moments(CUSTOM), allow_inexact=True), tmp_path / "new.safetensors")
    assert result.comparison is not None
    assert not result.comparison.equal
    assert result.comparison.largest > 0.1
    assert compare_files(path, result.path).differences == result.comparison.differences


def test_published_start_is_a_flag_away_and_differs(tmp_path: Path) -> None:
    path = files.avigate(tmp_path / "old.bin")
    config = {**files.RETRIEVAL, "query_gate": "scalar"}
    results = [
        migrate(make_plan(path, config, init=init, seed=seed), tmp_path / f"{init}{seed}.safetensors")
        for init, seed in (("balanced", 0), ("balanced", 0), ("random", 0), ("random", 1))
        if not (tmp_path / f"{init}{seed}.safetensors").exists()
    ]
    assert all(result.comparison is not None and result.comparison.largest > 1e-5 for result in results)
    gate = "transformerClip.resblocks.0.query_gate.qg_fc.weight"
    values = [read_checkpoint(result.path).state_dict[gate] for result in results]
    assert not torch.equal(values[1], values[2])
    assert abs(float(values[1].std()) - 0.02) < 0.002


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "old.ckpt")
    config = files.moments(CUSTOM)
    result = migrate(make_plan(path, config), tmp_path / "new.safetensors", config_name="configs/x.py")
    with safe_open(result.path, "pt") as stored:
        record = json.loads(stored.metadata()["gatefuse_migration"])
    assert record["source"]["bytes"] == path.stat().st_size
    assert len(record["source"]["sha256"]) == 64
    expected = {"origin": "qd_detr", "init": "identity", "config": "configs/x.py", "exact": True}
    assert expected.items() <= record.items()
    assert record["model"] == config
    assert record["verified"]["equal"] is True
    described = inspect(result.path)
    assert described.identity.origin == "gatefuse"
    assert described.identity.fusion_config is not None
    assert described.provenance == record


def test_every_value_is_carried_over_unchanged(tmp_path: Path) -> None:
    path = files.sprc(tmp_path / "old.pt", gated=True)
    fusion = {**GUIDED, "text_proj": True, "norm_affine": True, "pool": "mean"}
    plan = make_plan(path, {**files.COMPOSED, "fusion": fusion})
    written = read_checkpoint(migrate(plan, tmp_path / "new.safetensors").path).state_dict
    old = torch.load(path, weights_only=True)["Blip2QformerCirAlignPrompt"]
    assert set(written) == {move.new for move in plan.moves}
    assert all(torch.equal(written[move.new], old[move.old]) for move in plan.moves)


def test_never_over_the_source_nor_over_another_file(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "old.pth")
    before = path.read_bytes()
    link = tmp_path / "link.pth"
    os.link(path, link)
    plan = make_plan(path, files.moments())
    for target in (path, link):
        with pytest.raises(CheckpointError, match="is the source itself"):
            migrate(plan, target, overwrite=True)
    (tmp_path / "there.safetensors").write_text("precious")
    with pytest.raises(CheckpointError, match="--overwrite replaces it"):
        migrate(plan, tmp_path / "there.safetensors")
    assert (tmp_path / "there.safetensors").read_text() == "precious"
    with pytest.raises(CheckpointError, match=r"expected NAME\.safetensors"):
        migrate(plan, tmp_path / "a.bin")
    assert path.read_bytes() == before


def test_a_plan_with_faults_writes_nothing(tmp_path: Path) -> None:
    plan = make_plan(files.qd_detr_exp(tmp_path / "old.ckpt", "tanh_global"), files.moments(CUSTOM))
    with pytest.raises(CheckpointError, match="not migrated, 1 faults"):
        migrate(plan, tmp_path / "new.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["old.ckpt"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(files.qd_detr(tmp_path / "old.ckpt"), files.moments())
    (tmp_path / "new.safetensors").write_text("earlier")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        migrate(plan, tmp_path / "new.safetensors", verify=False, overwrite=True)
    assert (tmp_path / "new.safetensors").read_text() == "earlier"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.safetensors", "old.ckpt"]


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.qd_detr(tmp_path / "old.ckpt")
    plan = make_plan(path, files.moments())
    monkeypatch.setattr(
        "gatefuse_plugins.checkpoints.migration.execute.file_digest", lambda file: os.utime(file, (1, 1)) or "0" * 64
    )
    with pytest.raises(CheckpointError, match="changed while it was read"):
        migrate(plan, tmp_path / "new.safetensors", verify=False)
    assert not (tmp_path / "new.safetensors").exists()


def test_nan_weights_travel_and_are_reported(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "old.ckpt")
    content = torch.load(path, weights_only=False)
    content["model"]["class_embed.bias"][0] = float("nan")
    torch.save(content, path)
    result = migrate(make_plan(path, files.moments(CUSTOM)), tmp_path / "new.safetensors")
    assert result.non_finite == {"class_embed.bias": 1}
    assert result.comparison is not None
    assert result.comparison.equal


def test_a_migrated_file_migrates_again(tmp_path: Path) -> None:
    first = migrate(make_plan(files.qd_detr(tmp_path / "a.ckpt"), files.moments(CUSTOM)), tmp_path / "b.safetensors")
    gate = files.slot("transformer.encoder.layers.0", "ffn")
    plan = make_plan(first.path, files.injected(files.moments(CUSTOM), gate))
    assert plan.counts() == {"kept": 264, "new": 1}
    second = migrate(plan, tmp_path / "c.safetensors")
    assert second.comparison is not None
    assert second.comparison.largest == 0
    again = make_plan(second.path, plan.config)
    assert again.counts() == {"kept": 265}
    assert inspect(second.path).provenance["earlier"]["origin"] == "qd_detr"


def test_half_precision_and_integers_keep_their_type(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "old.ckpt")
    content = torch.load(path, weights_only=False)
    content["model"] = {name: tensor.bfloat16() for name, tensor in content["model"].items()}
    torch.save(content, path)
    result = migrate(make_plan(path, files.moments()), tmp_path / "new.safetensors")
    written = read_checkpoint(result.path).state_dict
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
    assert torch.equal(written["class_embed.bias"], content["model"]["class_embed.bias"])
