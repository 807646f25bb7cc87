"""Text-guided image fusion: parity with the fork, the formulas of its strategies, pooling, taps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import TOLERANCE, fill, load_oracle
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.fusions import TextGuidedImageFusion
from gatefuse_plugins.gates import gate_parameters, gate_taps
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.registry import FUSIONS, MODELS

D, T = 12, 8


def tokens(image_dim: int = D, text_dim: int = T) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, image_dim, generator=generator), torch.randn(2, 4, text_dim, generator=generator)


def build(**options: Any) -> TextGuidedImageFusion:
    torch.manual_seed(1)
    return TextGuidedImageFusion(**{"image_dim": D, "text_dim": T, **options})


def gate_and_delta(fusion: TextGuidedImageFusion, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """The published formulas, spelt out with the concatenation."""
    pooled = text.mean(dim=1)
    gate = None
    if fusion.gate_net is not None:
        joined = torch.cat([image, pooled[:, None].expand(-1, image.shape[1], -1)], dim=-1)
        hidden = F.linear(joined, fusion.gate_net[0].weight, fusion.gate_net[0].bias)
        gate = torch.sigmoid(fusion.gate_net[4](F.relu(F.layer_norm(hidden, hidden.shape[-1:]))))
    return gate, torch.tanh(fusion.delta_net(pooled))[:, None]


def test_parity_with_the_fork() -> None:
    manifest, arrays = load_oracle("gated_fusion_module")
    config = manifest["config"]
    fusion = TextGuidedImageFusion(
        config["image_dim"], config["text_dim"], text_proj=True, norm_affine=True, pool="mean"
    ).eval()
    state = {name: fill(name, shape) for name, shape in manifest["state_dict"].items()}
    state["alpha"] = torch.tensor([0.5])
    fusion.load_state_dict(state, strict=True)
    with torch.no_grad():
        out = fusion(torch.from_numpy(arrays["in_image"]), torch.from_numpy(arrays["in_text"]))
    torch.testing.assert_close(out, torch.from_numpy(arrays["out"]), **TOLERANCE)


def test_parameter_count_of_the_documented_variant() -> None:
    assert sum(p.numel() for p in TextGuidedImageFusion(768, 768).parameters()) == 2_952_193


@pytest.mark.parametrize("widths", [(D, T), (T, D)])
def test_residual_and_additive_formulas(widths: tuple[int, int]) -> None:
    image, text = tokens(*widths)
    for strategy in ("residual", "additive"):
        fusion = build(image_dim=widths[0], text_dim=widths[1], strategy=strategy, alpha_init=0.3)
        gate, delta = gate_and_delta(fusion, image, text)
        expected = image + 0.3 * (delta if gate is None else gate * delta)
        torch.testing.assert_close(fusion(image, text), expected)
    assert fusion.gate_net is None


def test_weighted_is_residual_with_alpha_fixed_at_one() -> None:
    image, text = tokens()
    weighted, residual = build(strategy="weighted"), build(alpha_init=1.0)
    assert set(residual.state_dict()) - set(weighted.state_dict()) == {"alpha"}
    weighted.load_state_dict({k: v for k, v in residual.state_dict().items() if k != "alpha"})
    gate, delta = gate_and_delta(weighted, image, text)
    torch.testing.assert_close(weighted(image, text), gate * (image + delta) + (1 - gate) * image)
    torch.testing.assert_close(weighted(image, text), residual(image, text))


def test_widths_of_eva_and_bert() -> None:
    image, text = tokens(1408, 768)
    fusion = build(image_dim=1408, text_dim=768).eval()
    with torch.no_grad():
        out = fusion(image, text)
    assert out.shape == image.shape
    assert not torch.equal(out, image)


@pytest.mark.parametrize("padding", [torch.inf, torch.nan, 1e4])
def test_masked_pooling_ignores_padding(padding: float) -> None:
    image, text = tokens()
    fusion = build()
    mask = torch.tensor([[True, True, False, False]] * 2)
    spoilt = text.clone()
    spoilt[:, 2:] = padding
    torch.testing.assert_close(fusion(image, spoilt, context_mask=mask), fusion(image, text[:, :2]))


def test_other_pools() -> None:
    image, text = tokens()
    mask = torch.tensor([[True, True, False, False]] * 2)
    upstream, reference = build(pool="mean"), build()
    torch.testing.assert_close(upstream(image, text, context_mask=mask), reference(image, text))
    assert not torch.allclose(reference(image, text, context_mask=mask), reference(image, text))
    torch.testing.assert_close(build(pool="first")(image, text), reference(image, text[:, :1]))


def test_text_norm_makes_the_text_scale_irrelevant_and_has_no_parameters() -> None:
    image, text = tokens()
    normed, plain = build(text_norm=True), build()
    assert set(normed.state_dict()) == set(plain.state_dict())
    torch.testing.assert_close(normed(image, 100 * text), normed(image, text), rtol=1e-3, atol=1e-4)
    normalised = F.layer_norm(text.mean(dim=1), (T,))[:, None]
    torch.testing.assert_close(normed(image, text), plain(image, normalised))


@pytest.mark.parametrize("strategy", ["residual", "additive", "weighted"])
def test_training_and_evaluation_give_the_same(strategy: str) -> None:
    image, text = tokens()
    fusion = build(strategy=strategy)
    trained = fusion.train()(image, text)
    assert torch.equal(trained, fusion.eval()(image, text))
    with torch.no_grad():
        torch.testing.assert_close(fusion(image, text), trained)


def test_dropout_acts_in_training_only() -> None:
    image, text = tokens()
    fusion = build(dropout=0.5)
    assert not torch.equal(fusion.train()(image, text), fusion(image, text))
    assert torch.equal(fusion.eval()(image, text), fusion(image, text))


@pytest.mark.parametrize("strategy", ["residual", "additive", "weighted"])
def test_gradients_reach_both_inputs_and_every_parameter(strategy: str) -> None:
    image, text = (leaf.requires_grad_() for leaf in tokens())
    fusion = build(strategy=strategy)
    fusion(image, text).square().sum().backward()
    assert image.grad.abs().min() > 0 and text.grad.abs().min() > 0
    assert all(parameter.grad is not None for parameter in fusion.parameters())


def test_taps_and_ownership() -> None:
    taps = {name: (t.kind, t.low, t.high, t.neutral) for name, t in gate_taps(build())}
    assert taps == {"gate_tap": ("image", 0.0, 1.0, 0.0), "delta_tap": ("delta", -1.0, 1.0, 0.0)}
    assert [name for name, _ in gate_taps(build(strategy="additive"))] == ["delta_tap"]
    fusion = build()
    assert {id(p) for p in gate_parameters(fusion)} == {id(p) for p in fusion.parameters()}


def test_recording_sees_the_values_and_changes_nothing() -> None:
    image, text = tokens()
    fusion = build()
    plain = fusion(image, text)
    with record_gates(fusion) as recording:
        assert torch.equal(fusion(image, text), plain)
    gate, delta = gate_and_delta(fusion, image, text)
    summary = recording.summary()
    assert summary["gate_tap"].mean == pytest.approx(gate.mean().item(), rel=1e-4)
    assert summary["delta_tap"].minimum == pytest.approx(delta.min().item(), rel=1e-4)


def test_wrong_widths_and_options_are_named() -> None:
    image, text = tokens()
    with pytest.raises(ConfigError, match=r"image_dim=12.*9 wide.*set image_dim=9"):
        build()(image[..., :9], text)
    with pytest.raises(ConfigError, match=r"text_dim=8.*7 wide.*set text_dim=7"):
        build()(image, text[..., :7])
    with pytest.raises(ConfigError, match="did you mean 'residual'"):
        build(strategy="residul")
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        build(pool="maen")


def test_built_from_both_registries() -> None:
    config = {"image_dim": D, "text_dim": T}
    assert isinstance(FUSIONS.build({"type": "TextGuidedImageFusion", **config}), TextGuidedImageFusion)
    assert isinstance(MODELS.build({"type": "gatefuse.TextGuidedImageFusion", **config}), TextGuidedImageFusion)
