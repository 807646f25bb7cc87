"""Foreign models get taps on their gates; their weights, keys and outputs stay bit-identical."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import pytest
import torch
from foreign_models import MODELS, FusionStack, MomentModel, build, flat, moment_inputs, run

from gatefuse_plugins.checkpoints.legacy import (
    adapt_legacy_model,
    load_legacy_model_with_gate_tracking,
    recognise_fork,
)
from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.fusions.text_guided_image import TextGuidedImageFusion
from gatefuse_plugins.gates.tap import gate_taps
from gatefuse_plugins.recording.recorder import record_gates


@pytest.mark.parametrize("fork", MODELS)
def test_adapting_changes_nothing_and_ejecting_leaves_nothing(fork: str) -> None:
    model, untouched = build(fork), build(fork)
    assert recognise_fork(model) == fork
    before = flat(run(model))
    with adapt_legacy_model(model) as adapted:
        assert dict(gate_taps(model)) == adapted.taps and adapted.taps
        with record_gates(model) as gates:
            during = flat(run(model))
        assert set(gates.summary()) == set(adapted.taps)
        assert list(model.state_dict()) == list(untouched.state_dict())
        assert all(torch.equal(value, untouched.state_dict()[key]) for key, value in model.state_dict().items())
    after = flat(run(model))
    for values in zip(before, during, after, strict=True):
        assert torch.equal(values[0], values[1]) and torch.equal(values[0], values[2])
    assert repr(model) == repr(untouched)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("fork", ["qd_detr_tanh", "qd_detr_sigmoid"])
def test_clipwise_gates_are_recorded_without_padding(fork: str) -> None:
    model = build(fork)
    with adapt_legacy_model(model), record_gates(model) as gates:
        run(model)
    found, valid = gates.summary(), moment_inputs()["src_vid_mask"].bool()
    for layer in range(2):
        name = f"fusion.fusion_layers.{layer}.gating_function"
        for kind, value in zip(("attention", "ffn"), model.get_submodule(name).last, strict=True):
            figures = found[f"{name}.{kind}_tap"]
            assert (figures.count, figures.layer, figures.kind, figures.neutral) == (8, layer, kind, 0.0)
            assert figures.mean == pytest.approx(value[valid].mean().item(), abs=1e-7)
            assert figures.maximum == value[valid].max().item()
    assert (figures.low, figures.high) == ((-1.0, 1.0) if fork == "qd_detr_tanh" else (None, None))
    if fork == "qd_detr_sigmoid":
        assert found["fusion.fusion_layers.1.gating_function.shift_tap"].count == 8


def test_fusion_alone_takes_its_masks_from_its_blocks() -> None:
    fusion = build("qd_detr_tanh").fusion
    inputs = moment_inputs()
    with adapt_legacy_model(fusion), record_gates(fusion) as gates:
        fusion(inputs["src_vid"], inputs["src_aud"], inputs["src_vid_mask"])
        assert {figures.count for figures in gates.summary().values()} == {8}
        fusion(inputs["src_vid"], inputs["src_aud"])
    assert {figures.count for figures in gates.summary().values()} == {18}


def test_a_failed_forward_leaves_no_mask_behind() -> None:
    fusion, inputs = build("qd_detr_tanh").fusion, moment_inputs()
    with adapt_legacy_model(fusion), record_gates(fusion) as gates:
        with pytest.raises(RuntimeError):
            fusion(inputs["src_vid"], inputs["src_aud"][:, :2], inputs["src_vid_mask"])
        fusion.fusion_layers[0].gating_function(inputs["src_vid"], inputs["src_aud"])
    assert gates.summary()["fusion_layers.0.gating_function.ffn_tap"].count == 10


def test_gates_that_the_model_squashes_itself() -> None:
    model = build("avigate")
    with adapt_legacy_model(model), record_gates(model) as gates:
        *_, attention, ffn = run(model)
    found = gates.summary()
    for layer in range(2):
        for kind, values in (("attention", attention), ("ffn", ffn)):
            figures = found[f"resblocks.{layer}.{kind}_tap"]
            assert (figures.minimum, figures.maximum) == (values[layer].min().item(), values[layer].max().item())
            assert figures.layer == layer
    image = build("gated_sprc")
    with adapt_legacy_model(image), record_gates(image) as gates:
        run(image)
    assert gates.summary()["image_tap"].maximum == image.gate.max().item()
    assert gates.summary()["delta_tap"].mean == pytest.approx(image.delta.mean().item(), abs=1e-7)


@pytest.mark.parametrize("fork", ["qd_detr_tanh", "avigate", "gated_sprc"])
@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_what_is_set_at_a_tap_reaches_the_model(fork: str, value: float) -> None:
    model = build(fork)
    with adapt_legacy_model(model) as adapted:
        for tap in adapted.taps.values():
            tap.register_forward_hook(lambda module, args, output: torch.full_like(output, value))
        output = run(model)
    if fork == "avigate":
        for gate in (*output[2], *output[3]):
            assert torch.allclose(gate, torch.full_like(gate, value), atol=1e-6)
    elif fork == "gated_sprc":
        expected = moment_inputs()["src_vid"] + 0.5 * value * value
        assert torch.allclose(output, expected, atol=1e-6)
    elif value == 0.0:
        assert torch.equal(output["pred_logits"], model.class_embed(moment_inputs()["src_vid"]))
    else:
        assert not torch.equal(output["pred_logits"], run(model)["pred_logits"])


def test_a_value_that_no_output_gives_is_refused() -> None:
    model = build("avigate")
    with adapt_legacy_model(model) as adapted:
        next(iter(adapted.taps.values())).register_forward_hook(lambda module, args, output: output + 2)
        with pytest.raises(ConfigError, match="a value that tanh never gives; expected -1 to 1"):
            run(model)


def test_gradients_are_the_same() -> None:
    grads = []
    for adapt in (False, True):
        model = build("qd_detr_sigmoid")
        if adapt:
            adapt_legacy_model(model)
        run(model)["pred_logits"].square().sum().backward()
        grads.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*grads, strict=True))


def test_a_model_with_taps_of_its_own_needs_no_adapter() -> None:
    with pytest.raises(ConfigError, match="has 2 gate taps of its own"):
        adapt_legacy_model(TextGuidedImageFusion(4, 4))


def test_copies_have_taps_of_their_own() -> None:
    model = build("qd_detr_tanh")
    adapt_legacy_model(model)
    twin = copy.deepcopy(model)
    with record_gates(model) as ours, record_gates(twin) as theirs:
        run(twin)
    assert ours.summary() == {} and len(theirs.summary()) == 4


def test_from_file_to_recording(tmp_path: Path) -> None:
    source = build("qd_detr_sigmoid")
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1)
    path = tmp_path / "model_best.ckpt"
    options = argparse.Namespace(gating_type="clipwise", device=torch.device("cuda"))
    torch.save({"model": source.state_dict(), "opt": options, "epoch": 3}, path)
    adapted = load_legacy_model_with_gate_tracking(
        path, lambda checkpoint: MomentModel(FusionStack(checkpoint.meta["opt"].gating_type, learned=True))
    )
    assert not adapted.model.training and not any(tap.training for tap in adapted.taps.values())
    with record_gates(adapted.model, "**.attention_tap") as gates:
        assert torch.equal(run(adapted.model)["pred_logits"], run(source)["pred_logits"])
    assert len(gates.summary()) == 2
    with pytest.raises(CheckpointError, match="unexpected"):
        load_legacy_model_with_gate_tracking(path, lambda _: MomentModel(FusionStack("clipwise", learned=False)))
