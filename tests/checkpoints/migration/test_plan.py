"""Plans are complete and honest: every parameter of either side has a row, what cannot be done says why."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch

from gatefuse_plugins.checkpoints.migration import make_plan
from gatefuse_plugins.errors import CheckpointError, ConfigError, PatternError

CUSTOM = files.AVIGATE_CUSTOM


def test_every_parameter_has_one_row(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt")
    plan = make_plan(path, files.moments(CUSTOM))
    old = set(torch.load(path, weights_only=False)["model"])
    new = set(plan.family.skeleton(plan.config).state_dict())
    assert {row.old for row in plan.rows if row.old} == old
    assert sorted(row.new for row in plan.rows if row.new) == sorted(new)
    assert plan.counts() == {"kept": 178, "new": len(new) - 178}
    assert plan.exact
    assert plan.faults == []
    assert all(row.new.startswith(("fusion.", "input_aud_proj.")) for row in plan.named("new"))


def test_the_start_of_new_parameters_is_stated(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt")
    notes = {row.new: row.note for row in make_plan(path, files.moments(CUSTOM)).named("new")}
    layer = "fusion.fusion_layers.1"
    assert notes[f"{layer}.delta_norm_mha.weight"] == "0, so that nothing changes"
    assert notes[f"{layer}.gating_function.mlp_mha.0.weight"] == "as published"
    balanced = make_plan(path, files.moments(CUSTOM), init="balanced")
    assert {row.note for row in balanced.named("new")} == {"as published"}
    assert not balanced.exact


@pytest.mark.parametrize(
    ("variant", "fusion", "fault"),
    [
        ("tanh_global", CUSTOM, "gates of the tanh generation stay so.*--allow-inexact does it"),
        ("sigmoid_clipwise", {**CUSTOM, "gating_type": "elementwise"}, "heads have other widths"),
        ("sigmoid_clipwise", {**CUSTOM, "gating_type": "global"}, "read the mean of all clips"),
        (
            "sigmoid_elementwise",
            {**CUSTOM, "gating_type": "elementwise", "ffn_gate_film": True},
            "FiLM multiplies",
        ),
        ("tanh_global", {**CUSTOM, "generation": "tanh", "fusion_layers": 1}, "2 fusion layers do not fit into 1"),
        ("tanh_global", {**CUSTOM, "generation": "tanh", "fusion_n_heads": 4}, "set fusion.fusion_n_heads=8"),
        ("tanh_global", {"type": "QueryAwareTemporalGate"}, "AvigateCustomFusion cannot become QueryAwareTemporalGate"),
        ("tanh_global", None, "the config's model has no fusion; --drop"),
    ],
)
def test_changes_of_fusion_that_are_refused(tmp_path: Path, variant: str, fusion: Any, fault: str) -> None:
    plan = make_plan(files.qd_detr_exp(tmp_path / "a.ckpt", variant), files.moments(fusion))
    assert re.search(fault, "\n".join(plan.faults))


def test_concatenated_audio_to_gated_audio_only_on_request(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt", "audio")
    refused = make_plan(path, files.moments(CUSTOM))
    assert "shares one LayerNorm" in refused.faults[0]
    plan = make_plan(path, files.moments(CUSTOM), allow_inexact=True)
    assert plan.faults == []
    assert not plan.exact
    cut = {(row.new, row.note) for row in plan.named("reshaped")}
    assert ("input_vid_proj.0.net.1.weight", "columns 0 to 19") in cut
    assert ("input_aud_proj.0.net.1.weight", "columns 20 to 33") in cut


def test_audio_columns_are_recognised_through_the_config(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt", "audio", options=False)
    plan = make_plan(path, files.moments({"type": "Concat"}))
    assert plan.counts() == {"kept": 178}
    assert plan.found.fusion == "concatenated audio"


def test_unknown_parameter_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=False)
    content["model"]["saliency_proj3.weight"] = content["model"].pop("saliency_proj2.weight")
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"saliency_proj3\.weight \(nearest: saliency_proj"):
        make_plan(path, files.moments())


def test_missing_and_misshapen_parameters_are_conflicts(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=False)
    del content["model"]["class_embed.bias"]
    content["model"]["saliency_proj1.bias"] = torch.zeros(3)
    torch.save(content, path)
    faults = make_plan(path, files.moments()).faults
    assert "class_embed.bias: missing from the checkpoint" in "\n".join(faults)
    assert "saliency_proj1.bias: has shape (3,), the model's saliency_proj1.bias (256,)" in faults


def test_dropping_on_request(tmp_path: Path) -> None:
    path = files.qd_detr_exp(tmp_path / "a.ckpt", "tanh_global")
    plan = make_plan(path, files.moments(), drop=["fusion.**", "input_aud_proj.**"])
    assert plan.counts() == {"kept": 178, "dropped": 72}
    assert not plan.exact
    with pytest.raises(PatternError, match="fusions"):
        make_plan(path, files.moments(), drop=["fusions.**"])


def test_gated_sprc_is_renamed_and_its_inference_noted(tmp_path: Path) -> None:
    path = files.sprc(tmp_path / "a.pt", gated=True)
    fusion = {"type": "TextGuidedImageFusion", "text_proj": True, "norm_affine": True, "pool": "mean"}
    plan = make_plan(path, {**files.COMPOSED, "fusion": fusion})
    assert plan.counts() == {"kept": 129, "renamed": 15, "dropped": 2}
    assert {(row.old, row.new) for row in plan.named("renamed")} >= {("gated_fusion.alpha", "fusion.alpha")}
    assert any("skips its gate" in finding.message for finding in plan.findings)
    other = make_plan(path, {**files.COMPOSED, "fusion": {"type": "TextGuidedImageFusion"}})
    assert "set model.fusion.text_proj=True" in other.faults[0]


def test_tied_weights_keep_the_value_under_the_first_name(tmp_path: Path) -> None:
    path = files.sprc(tmp_path / "a.pt")
    dropped = {row.old: row.note for row in make_plan(path, files.COMPOSED).named("dropped")}
    words = "Qformer.bert.embeddings.word_embeddings.weight"
    assert dropped["Qformer.cls.predictions.decoder.weight"] == f"tied to {words}"
    content = torch.load(path, weights_only=False)
    state = content["Blip2QformerCirAlignPrompt"]
    state["Qformer.cls.predictions.decoder.weight"] = state[words] + 1
    torch.save(content, path)
    dropped = {row.old: row.note for row in make_plan(path, files.COMPOSED).named("dropped")}
    assert "from which it differs in the checkpoint" in dropped["Qformer.cls.predictions.decoder.weight"]


def test_a_query_gate_without_scale_cannot_start_unchanged(tmp_path: Path) -> None:
    path = files.avigate(tmp_path / "a.bin")
    plan = make_plan(path, {**files.RETRIEVAL, "query_gate": "scalar"})
    assert "model.query_gate_scale=True" in plan.faults[0]
    assert make_plan(path, {**files.RETRIEVAL, "query_gate": "scalar", "query_gate_scale": True}).faults == []
    assert make_plan(path, {**files.RETRIEVAL, "query_gate": "scalar"}, init="balanced").faults == []


def test_options_without_parameters_that_change_outputs(tmp_path: Path) -> None:
    path = files.avigate(tmp_path / "a.bin")
    for options, text in (
        ({"layer_decay": "fixed"}, "layer_decay"),
        ({"gating": False}, "tanh gates cannot be 1"),
        ({"attention_temperature": 2.0}, "attention_temperature"),
    ):
        plan = make_plan(path, {**files.RETRIEVAL, **options}, drop=())
        assert any(text in fault for fault in plan.faults)


def test_another_kind_of_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="another kind"):
        make_plan(files.qd_detr(tmp_path / "a.ckpt"), files.RETRIEVAL)
    with pytest.raises(ConfigError, match=r"'QDDETRR'.*did you mean 'QDDETR'"):
        make_plan(files.qd_detr(tmp_path / "a.ckpt"), {"type": "QDDETRR"})


def test_plan_as_json(tmp_path: Path) -> None:
    plan = make_plan(files.qd_detr(tmp_path / "a.ckpt"), files.moments(CUSTOM))
    data = json.loads(json.dumps(plan.to_json()))
    assert (data["runnable"], data["exact"], data["counts"]["kept"]) == (True, True, 178)
    assert len(data["rows"]) == len(plan.rows)
