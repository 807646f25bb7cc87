"""Options without parameters: those of the checkpoint's own config count, and a change of one is never silent."""

from __future__ import annotations

import inspect as python_inspect
from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch

from gatefuse_plugins.checkpoints.migration import changed_options, load_from_any, make_plan, to_upstream
from gatefuse_plugins.checkpoints.migration.behaviour import KEYS, filled, usable
from gatefuse_plugins.checkpoints.migration.families import family_of
from gatefuse_plugins.checkpoints.migration.plan import Plan
from gatefuse_plugins.checkpoints.migration.verify import compare_plan
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.hosts.avigate.build import build_avigate

CUSTOM = {"type": "AvigateCustomFusion", "fusion_layers": 1}
GUIDED = {"type": "TextGuidedImageFusion"}
WIDE = {**files.RETRIEVAL, "width": 64, "num_heads": 1, "fusion_layers": 1, "resampler_layers": 1}
QUERY = {**files.RETRIEVAL, "query_gate": "scalar"}
HEADS = {**files.COMPOSED, "qformer": {**files.COMPOSED["qformer"], "num_attention_heads": 8}}
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("fusion.gating_type", files.moments(CUSTOM), files.moments({**CUSTOM, "gating_type": "clipwise"})),
    ("fusion.mha_gate_temp", files.moments(CUSTOM), files.moments({**CUSTOM, "mha_gate_temp": 3.0})),
    ("fusion.fusion_n_heads", files.moments(CUSTOM), files.moments({**CUSTOM, "fusion_n_heads": 8})),
    ("model.fusion.pool", files.moments(CUSTOM), files.moments({**CUSTOM, "pool": "mean"})),
    ("model.nheads", files.moments(), files.moments(nheads=4)),
    ("model.use_txt_pos", files.moments(), files.moments(use_txt_pos=True)),
    ("model.compat", files.moments(), files.moments(compat="upstream")),
    ("model.layer_decay", {**files.RETRIEVAL, "layer_decay": "fixed"}, files.RETRIEVAL),
    ("model.num_heads", {**files.RETRIEVAL, "num_heads": 8}, files.RETRIEVAL),
    ("model.fusion_mix", {**files.RETRIEVAL, "fusion_mix": 0.5}, files.RETRIEVAL),
    ("model.attention_temperature", {**files.RETRIEVAL, "attention_temperature": 2.0}, files.RETRIEVAL),
    ("model.mask_padding", files.RETRIEVAL, {**files.RETRIEVAL, "mask_padding": False}),
    ("model.dual_path", QUERY, {**QUERY, "dual_path": True}),
    ("model.text_alignment", QUERY, {**QUERY, "text_alignment": "attention"}),
    ("model.qformer.num_attention_heads", HEADS, files.COMPOSED),
    (
        "model.fusion.pool",
        {**files.COMPOSED, "fusion": {**GUIDED, "pool": "mean"}},
        {**files.COMPOSED, "fusion": GUIDED},
    ),
]
IDS = [f"{key}-{number}" for number, (key, _old, _new) in enumerate(CHANGES)]


def own(path: Path, config: dict[str, Any]) -> Path:
    """A checkpoint of our own training, all parameters moved from their start."""
    state = family_of(config).starting(config, seed=1).state_dict()
    if config["type"] == "Blip2ComposedRetrieval":
        state = family_of(config).runnable(config).state_dict()
    generator = torch.Generator().manual_seed(2)
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    meta = {"cfg": f"model = {config!r}\n", "epoch": 3}
    torch.save({"state_dict": state, "meta": meta, "message_hub": {}}, path)
    return path


@pytest.mark.parametrize(("key", "old", "new"), CHANGES, ids=IDS)
def test_a_changed_option_is_refused_and_measured(
    tmp_path: Path, key: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    path = own(tmp_path / "old.pth", old)
    plan = make_plan(path, new)
    assert any(key.removeprefix("model.fusion.") in fault or key in fault for fault in plan.faults), plan.faults
    comparison = compare_plan(plan)
    assert not comparison.equal
    assert comparison.largest > 1e-4
    (told,) = changed_options(read_checkpoint(path), new)
    assert told.startswith(key) or key.removeprefix("fusion.") in told or "gates are global, the config's clip" in told
    with pytest.raises(CheckpointError, match="left as it was"):
        load_from_any(family_of(new).runnable(new), path, new)


@pytest.mark.parametrize(("key", "old", "new"), CHANGES, ids=IDS)
def test_the_own_config_takes_its_own_checkpoint(
    tmp_path: Path, key: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    for number, config in enumerate((old, new)):
        path = own(tmp_path / f"{number}.pth", config)
        assert changed_options(read_checkpoint(path), config) == []
        plan = make_plan(path, config)
        assert (plan.faults, plan.exact) == ([], True)
        assert compare_plan(plan).largest == 0


def test_what_upstream_fixes(tmp_path: Path) -> None:
    """AVIGATE's code has heads of 64, a mix of 0.05 and no temperature; its files cannot say otherwise."""
    state = family_of(WIDE).starting(WIDE, seed=0).state_dict()
    torch.save(state, tmp_path / "pytorch_model.bin.4")
    assert make_plan(tmp_path / "pytorch_model.bin.4", WIDE).faults == []
    for key, value in (("num_heads", 4), ("fusion_mix", 0.5), ("attention_temperature", 2.0), ("layer_decay", "fixed")):
        (fault,) = make_plan(tmp_path / "pytorch_model.bin.4", {**WIDE, key: value}).faults
        assert fault.startswith(
            f"model.{key} is {WIDE.get(key, 1.0 if key[0] == 'a' else 'off')!r} in the checkpoint's"
        )


def test_what_no_one_tells_is_stated(tmp_path: Path) -> None:
    path = files.qd_detr_exp(tmp_path / "a.ckpt", "sigmoid_clipwise")
    torch.save({"model": torch.load(path, weights_only=False)["model"]}, path)
    config = files.moments({**files.AVIGATE_CUSTOM, "gating_type": "clipwise", "mha_gate_temp": 2.0})
    assert changed_options(read_checkpoint(path), {**config, "nheads": 4}) == []
    assert _note(make_plan(path, config)).endswith(
        "assumed as in the config: nheads=8, use_txt_pos=False, fusion.fusion_n_heads=8, fusion.mha_gate_temp=2.0,"
        " fusion.gating_type=clipwise"
    )


def _note(plan: Plan) -> str:
    (note,) = [finding.message for finding in plan.findings if finding.level == "note"]
    return note


@pytest.mark.parametrize(
    ("option", "value"),
    [("num_heads", 4), ("fusion_mix", 0.5), ("attention_temperature", 2.0), ("layer_decay", "fixed")],
)
def test_upstream_has_no_such_option(tmp_path: Path, option: str, value: Any) -> None:
    path = own(tmp_path / "own.pth", {**WIDE, "fusion_layers": 2, option: value})
    with pytest.raises(
        CheckpointError, match=rf"AVIGATE has no such model(.|\n)*{option}={value}(.|\n)*similarity: \S+ of"
    ):
        to_upstream(path, tmp_path / "back.bin")
    result = to_upstream(path, tmp_path / "back.bin", allow_inexact=True)
    assert result.comparison is not None
    assert not result.comparison.equal


def test_every_option_of_the_retrieval_host_is_classified() -> None:
    """A new option has to be entered as one of these, lest a change of it goes unnoticed."""
    sizes = {"width", "num_query_tokens", "resampler_layers", "fusion_layers", "max_frames"}
    with_parameters = {"gating", "query_gate", "query_gate_scale", "text_gates", "gate_pooling"}
    encoders = {"frame_encoder", "text_encoder", "audio_encoder", "data_preprocessor"}
    training = {"margin_beta", "margin_bound", "mask_same_video", "max_bytes", "frozen"}
    known = sizes | with_parameters | encoders | training | set(KEYS["avigate"])
    assert set(python_inspect.signature(build_avigate).parameters) == known


def test_defaults_fill_a_config_through_all_bases() -> None:
    full = filled(files.injected(files.moments(CUSTOM), files.slot("transformer.encoder.layers.0", "ffn")))
    assert (full["type"], full["nheads"], full["use_txt_pos"], full["compat"]) == ("QDDETR", 8, False, None)
    assert (full["fusion"]["gating_type"], full["fusion"]["fusion_n_heads"]) == ("global", 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("nheads", value) for value in ("abc", 0, [1], True, 2.5)),
        *(("mha_gate_temp", value) for value in ("hot", float("nan"), 0.0)),
        *[("gating_type", "global; rm x"), ("gating_type", 5), ("a_feat_dim", [2]), ("use_txt_pos", "maybe")],
    ],
)
def test_odd_saved_options_are_told_and_not_used(tmp_path: Path, name: str, value: Any) -> None:
    assert usable({name: value, "other": 1})[0] == {"other": 1}
    path = files.qd_detr_exp(tmp_path / "a.ckpt", "sigmoid_clipwise", **{name: value})
    plan = make_plan(path, files.moments({**files.AVIGATE_CUSTOM, "gating_type": "clipwise"}))
    assert any(text.startswith(f"saved option {name}=") for text in plan.found.undecided)


def test_heads_that_no_model_can_have(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=False)
    content["opt"].nheads = 7
    torch.save(content, path)
    plan = make_plan(path, files.moments(), allow_inexact=True)
    with pytest.raises(CheckpointError, match="old model cannot be rebuilt"):
        compare_plan(plan)
