"""What the network promises beside upstream's numbers: masks, padding, negative pairs, any size, gates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from moment_hosts import AUDIO, TEXT, VIDEO, small_batch, small_host
from torch import nn

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.qd_detr.transformer import text_key_mask
from gatefuse_plugins.injection import inject

PREDICTIONS = ("pred_logits", "pred_spans", "saliency_scores")
FUSIONS = (None, "Concat", "AvigateCustomFusion", "QueryAwareTemporalGate")


def outputs(model: nn.Module, batch: dict[str, Any], **options: Any) -> dict[str, Any]:
    with torch.no_grad():
        return model(mode="tensor", **batch, **options)


def host(fusion: str | None, **options: Any) -> Any:
    if fusion is None:
        return small_host(**options)
    config = {"type": fusion, **({"fusion_n_heads": 2, "fusion_layers": 1} if fusion.startswith("Avigate") else {})}
    model = small_host(fusion=config, audio_dim=AUDIO, **options)
    with torch.no_grad():  # branches that start at zero would hide what reaches them
        for parameter in model.fusion.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def one(batch: dict[str, Any], index: int) -> dict[str, Any]:
    """Sample ``index`` alone, padding cut off."""
    sample = {}
    for name in ("video", "text", "audio"):
        if name in batch:
            valid = batch["video_mask" if name == "audio" else f"{name}_mask"][index]
            sample[name] = batch[name][index, valid][None]
            sample[f"{name}_mask"] = batch[f"{name}_mask"][index, valid][None]
    return sample


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_prediction_does_not_depend_on_its_batch(fusion: str | None) -> None:
    model, batch = host(fusion), small_batch((7, 3, 5), (1, 4, 2), audio=True)
    together = outputs(model, batch)
    for index, clips in enumerate((7, 3, 5)):
        alone = outputs(model, one(batch, index))
        for name in ("pred_logits", "pred_spans"):
            torch.testing.assert_close(together[name][index], alone[name][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            together["saliency_scores"][index, :clips], alone["saliency_scores"][0], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_padding_reaches_neither_outputs_nor_gradients(fusion: str | None, garbage: float) -> None:
    model, clean = host(fusion), small_batch((5, 3), (2, 4), audio=True)
    dirty = dict(clean)
    for name in ("video", "text", "audio"):
        dirty[name] = clean[name].masked_fill(~clean[f"{name}_mask"].unsqueeze(-1), garbage)
    gradients = []
    for batch in (clean, dirty):
        model.zero_grad()
        sum(value for name, value in model(mode="loss", **batch).items() if "loss" in name).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=0, msg=name)
    expected, got = outputs(model, clean, return_negatives=True), outputs(model, dirty, return_negatives=True)
    for name in (*PREDICTIONS, "saliency_scores_neg"):
        torch.testing.assert_close(got[name], expected[name], rtol=0, atol=0)


def test_a_negative_pair_is_the_video_with_the_next_text() -> None:
    for fusion in FUSIONS:
        model, batch = host(fusion), small_batch((5, 3, 4), (2, 4, 1), audio=True)
        got = outputs(model, batch, return_negatives=True)["saliency_scores_neg"]
        rolled = batch | {name: batch[name].roll(-1, 0) for name in ("text", "text_mask")}
        expected = outputs(model, rolled)["saliency_scores"]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(got, outputs(model, batch)["saliency_scores"])


def test_negative_pairs_are_scored_on_request_only_and_need_two_samples() -> None:
    model, calls = small_host(), []
    model.transformer.encoder.register_forward_hook(lambda _m, inputs, _o: calls.append(len(inputs[0])))
    assert "saliency_scores_neg" not in outputs(model, small_batch())
    assert "saliency_scores_neg" in outputs(model, small_batch(), return_negatives=True)
    single = small_batch((5,), (2,))
    assert "saliency_scores_neg" not in outputs(model, single, return_negatives=True)
    assert calls == [2, 4, 1]
    losses = model(mode="loss", **single)
    assert all(torch.isfinite(value) for value in losses.values())


def test_the_decoder_runs_once_and_not_at_all_for_saliency_alone() -> None:
    calls: list[int] = []
    for saliency_only, expected in ((False, [2]), (True, [])):
        model = small_host(saliency_only=saliency_only)
        calls.clear()
        model.transformer.decoder.register_forward_hook(lambda _m, _i, out: calls.append(out[0].shape[1]))
        losses = model.train()(mode="loss", **small_batch())
        assert calls == expected
    assert set(losses) == {"loss_saliency"}
    losses["loss_saliency"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    prediction = model.eval()(mode="predict", **small_batch())[0]
    assert [len(windows) for windows in prediction["windows"]] == [0, 0]


def test_upstreams_mask_is_that_of_another_sample() -> None:
    text = torch.tensor([[True, True], [True, False]])
    video = torch.tensor([[True, True], [True, False]])
    correct = text_key_mask(text, video, 3)
    assert correct.tolist() == [[[[True, True]]], [[[True, False]]]]
    upstream = text_key_mask(text, video, 3, head_major=True)
    # sample 0 gets the mask of sample (0 * 3 + head) % 2: in head 1 its second clip loses its second word
    assert upstream[0, :, 1, 1].tolist() == [True, False, True]
    assert upstream[0, :, 0].all()
    assert upstream[1].tolist() == correct[1].expand(3, 2, 2).tolist()


@pytest.mark.parametrize(("dim", "heads"), [(6, 3), (10, 5), (14, 1), (36, 4)])
def test_any_even_width(dim: int, heads: int) -> None:
    model = small_host(hidden_dim=dim, nheads=heads)
    prediction = model(mode="predict", **small_batch())[0]
    assert [windows.shape for windows in prediction["windows"]] == [(4, 3), (4, 3)]
    assert [len(curve) for curve in prediction["saliency"]] == [5, 3]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_padding_samples_one_clip_and_no_text(fusion: str | None) -> None:
    model, batch = host(fusion).train(), small_batch((0, 1, 4), (2, 0, 3), audio=True)
    losses = model(mode="loss", **batch)
    assert all(torch.isfinite(value) for value in losses.values())
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    got = outputs(model.eval(), batch)
    assert all(torch.isfinite(got[name]).all() for name in PREDICTIONS)
    longer = {name: batch[name] for name in ("video", "video_mask", "text", "text_mask", "audio", "audio_mask")}
    for name in ("video", "text", "audio"):  # what such samples give does not depend on how far they are padded
        longer[name] = nn.functional.pad(batch[name], (0, 0, 0, 3), value=5.0)
        longer[f"{name}_mask"] = nn.functional.pad(batch[f"{name}_mask"], (0, 3))
    torch.testing.assert_close(outputs(model, longer)["pred_spans"], got["pred_spans"], rtol=1e-4, atol=1e-5)


def test_ten_thousand_clips() -> None:
    model, batch = small_host(), small_batch((10_000,), (3,))
    got = model(mode="predict", **batch)[0]
    assert len(got["saliency"][0]) == 10_000
    assert got["windows"][0].max() <= 20_000


def test_inference_is_deterministic_and_training_is_not_the_same_twice() -> None:
    model, batch = small_host(), small_batch()
    first, second = (outputs(model, batch)["pred_logits"] for _ in range(2))
    assert torch.equal(first, second)
    model.train()
    third, fourth = (outputs(model, batch)["pred_logits"] for _ in range(2))
    assert not torch.equal(third, fourth)
    torch.manual_seed(5)
    fifth = outputs(model, batch)["pred_logits"]
    torch.manual_seed(5)
    assert torch.equal(fifth, outputs(model, batch)["pred_logits"])


def test_learned_text_positions_end_somewhere() -> None:
    model = small_host(use_txt_pos=True, max_q_l=4)
    plain = small_host(max_q_l=4)
    plain.load_state_dict(model.state_dict())
    batch = small_batch()
    assert not torch.allclose(outputs(model, batch)["pred_logits"], outputs(plain, batch)["pred_logits"])
    with pytest.raises(DataError, match="text of 5 tokens, but the learned text positions end at max_q_l=4"):
        outputs(model, small_batch((5, 3), (5, 4)))


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.masks: list[torch.Tensor] = []

    def forward(self, branch: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.masks.append(mask)
        return 2 * branch


@pytest.mark.parametrize("stack", ["t2v_encoder", "encoder"])
@pytest.mark.parametrize("branch", ["attention", "ffn"])
def test_gates_act_on_the_branches_of_the_layers(stack: str, branch: str) -> None:
    model, batch = small_host(), small_batch()
    names, before = set(model.state_dict()), outputs(model, batch)["saliency_scores"]
    layer, gate = getattr(model.transformer, stack).layers[1], Doubling()
    setattr(layer, f"{branch}_gate", gate)
    assert set(model.state_dict()) == names
    after = outputs(model, batch)["saliency_scores"]
    valid = batch["video_mask"]
    expected = valid if stack == "t2v_encoder" else torch.cat([torch.ones(2, 1, dtype=torch.bool), valid], dim=1)
    assert torch.equal(gate.masks[0], expected)
    last = layer.self_attn.out_proj if branch == "attention" else layer.linear2
    setattr(layer, f"{branch}_gate", None)
    with torch.no_grad():  # doubling the branch is doubling the layer that ends it
        last.weight.mul_(2)
        last.bias.mul_(2)
    torch.testing.assert_close(outputs(model, batch)["saliency_scores"], after)
    assert not torch.allclose(before[valid], after[valid])


def test_gates_injected_into_the_slots_start_neutral() -> None:
    plain, gated, batch = small_host(), small_host(), small_batch()
    gate = {"type": "ResidualGate", "granularity": "elementwise"}
    layers = "transformer.{t2v_encoder,encoder}.layers.*"
    plan = inject(gated, [{"pattern": layers, "at": slot, "gate": gate} for slot in ("attention_gate", "ffn_gate")])
    assert {(insert.at, insert.config["kind"], insert.config["dim"]) for insert in plan.inserts} == {
        ("attention_gate", "attention", 12),
        ("ffn_gate", "ffn", 12),
    }
    parts = ("head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias")
    assert set(gated.state_dict()) - set(plain.state_dict()) == {
        f"transformer.{stack}.layers.{layer}.{slot}.{part}"
        for stack in ("t2v_encoder", "encoder")
        for layer in (0, 1)
        for slot in ("attention_gate", "ffn_gate")
        for part in parts
    }
    for name in PREDICTIONS:
        assert torch.equal(outputs(gated, batch)[name], outputs(plain, batch)[name])


def test_a_sample_without_audio() -> None:
    batch = small_batch(audio=True)
    batch["audio_mask"] = batch["audio_mask"] & torch.tensor([[True], [False]])
    with pytest.raises(DataError, match="samples without audio in the batch, rows 1"):
        outputs(host("AvigateCustomFusion"), batch)
    for fusion in ("Concat", "QueryAwareTemporalGate"):
        model = small_host(fusion={"type": fusion, "no_audio": "learned"}, audio_dim=AUDIO)
        other = batch | {"audio": batch["audio"] * torch.tensor([1.0, -3.0])[:, None, None]}
        for name in PREDICTIONS:
            assert torch.equal(outputs(model, batch)[name], outputs(model, other)[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": torch.zeros(2, 5, 9)}, r"video features have shape \(2, 5, 9\); expected \(batch, length, 6\)"),
        ({"text": torch.zeros(2, TEXT)}, r"text features have shape \(2, 5\)"),
        ({"text": torch.zeros(2, 0, TEXT), "text_mask": torch.zeros(2, 0)}, "text features .* have no position"),
        ({"video_mask": torch.ones(2, 4, dtype=torch.bool)}, r"video_mask has shape \(2, 4\); expected \(2, 5\)"),
    ],
)
def test_streams_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        outputs(small_host(), small_batch() | change)


def test_a_fusion_needs_audio() -> None:
    with pytest.raises(DataError, match="fusion needs 'audio' and 'audio_mask'"):
        outputs(host("Concat"), small_batch())
    with pytest.raises(ConfigError, match="fusion Concat needs audio_dim"):
        small_host(fusion={"type": "Concat"})
    with pytest.raises(ConfigError, match="'Concatt' is unknown; did you mean 'Concat'"):
        small_host(fusion={"type": "Concatt"}, audio_dim=AUDIO)
    with pytest.raises(ConfigError, match="TextGuidedImageFusion is no fusion of video and audio"):
        small_host(fusion={"type": "TextGuidedImageFusion", "image_dim": VIDEO, "text_dim": TEXT}, audio_dim=AUDIO)


@pytest.mark.parametrize(("options", "message"), [({"hidden_dim": 15}, "even"), ({"compat": "old"}, "compat='old'")])
def test_faulty_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_host(**options)
