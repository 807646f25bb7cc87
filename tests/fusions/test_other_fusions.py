"""Spatial attention, sequences of fusions, and the self-check over all registered ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, PatternError
from gatefuse_plugins.fusions import Fusion, SequentialFusion, TextGuidedImageFusion, TextGuidedSpatialAttention
from gatefuse_plugins.fusions.selfcheck import check_fusion, check_fusions
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.registry import FUSIONS, MODELS

D, T = 6, 4


def tokens() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, D, generator=generator), torch.randn(2, 3, T, generator=generator)


def attention(strength: float) -> TextGuidedSpatialAttention:
    torch.manual_seed(1)
    fusion = TextGuidedSpatialAttention(D, T, attention_dim=8)
    torch.nn.init.constant_(fusion.strength, strength)
    return fusion


def test_spatial_attention_changes_nothing_at_step_0_but_learns() -> None:
    image, text = tokens()
    fusion = TextGuidedSpatialAttention(D, T)
    out = fusion(image, text)
    assert torch.equal(out, image)
    out.square().sum().backward()
    assert fusion.strength.grad.abs() > 0


def test_spatial_attention_formula() -> None:
    image, text = tokens()
    fusion = attention(0.7)
    logits = torch.einsum("bld,bd->bl", fusion.key(image), fusion.query(text.mean(dim=1))) / 8**0.5
    share = 5 * logits.softmax(dim=1)[..., None]
    torch.testing.assert_close(fusion(image, text), image * (1 + torch.tanh(torch.tensor(0.7)) * (share - 1)))


def test_masked_positions_get_no_share_and_shares_average_1() -> None:
    image, text = tokens()
    fusion, seen = attention(0.7), []
    fusion.attention_tap.register_forward_hook(lambda _, __, value: seen.append(value))
    mask = torch.tensor([[True, True, True, False, False], [True, True, True, True, True]])
    out = fusion(image, text, x_mask=mask)
    assert seen[0][0, 3:].abs().max() == 0
    torch.testing.assert_close(seen[0].sum(dim=1), torch.tensor([[3.0], [5.0]]))
    torch.testing.assert_close(out[0, :3], fusion(image[:1, :3], text[:1])[0])


def test_spatial_attention_ignores_text_padding() -> None:
    image, text = tokens()
    spoilt = text.clone()
    spoilt[:, 2] = torch.nan
    mask = torch.tensor([[True, True, False]] * 2)
    torch.testing.assert_close(attention(1.0)(image, spoilt, context_mask=mask), attention(1.0)(image, text[:, :2]))


def test_sequence_applies_its_parts_in_order() -> None:
    image, text = tokens()
    parts = [attention(0.7), TextGuidedImageFusion(D, T)]
    torch.testing.assert_close(SequentialFusion(parts)(image, text), parts[1](parts[0](image, text), text))
    assert not torch.allclose(SequentialFusion(parts)(image, text), SequentialFusion(parts[::-1])(image, text))
    built = SequentialFusion([{"type": "TextGuidedImageFusion", "image_dim": D, "text_dim": T}])
    assert [name for name, _ in gate_taps(built)] == ["fusions.0.gate_tap", "fusions.0.delta_tap"]
    with pytest.raises(ConfigError, match="at least one fusion"):
        SequentialFusion([])


def test_every_registered_fusion_passes_the_selfcheck() -> None:
    state = torch.random.get_rng_state()
    checks = {check.name: check for check in check_fusions(image_dim=16, text_dim=12, batch=2, image_tokens=9)}
    assert torch.equal(torch.random.get_rng_state(), state)
    assert set(checks) == set(FUSIONS.module_dict)
    assert {name: check.faults for name, check in checks.items() if not check.passed} == {}
    assert checks["TextGuidedSpatialAttention"].neutral_start
    gate = checks["TextGuidedImageFusion"].gates["gate_tap"]
    assert 0 < gate[0] < gate[1] < 1


def test_selfcheck_names_a_wrong_fusion() -> None:
    with pytest.raises(PatternError, match="did you mean 'TextGuidedImageFusion'"):
        check_fusions(["TextGuidedImagFusion"])


def test_selfcheck_picks_up_new_fusions_and_reports_what_cannot_be_built() -> None:
    class NeedsMore(Fusion):
        def __init__(self, image_dim: int, text_dim: int, audio_dim: int) -> None:
            super().__init__()

    FUSIONS.register_module(module=NeedsMore)
    try:
        (check,) = check_fusions(["NeedsMore"])
    finally:
        FUSIONS.module_dict.pop("NeedsMore")
        MODELS.module_dict.pop("NeedsMore")
    assert not check.passed
    assert "audio_dim" in check.faults[0]


def test_selfcheck_finds_a_fusion_that_ignores_its_text() -> None:
    class Deaf(Fusion):
        def __init__(self) -> None:
            super().__init__()
            self.idle = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor, context: Tensor, *args: Tensor | None) -> Tensor:
            return x[:, :-1] * 2

    image, text = tokens()
    faults = "\n".join(check_fusion("Deaf", Deaf(), image, torch.stack([text, text + 1])).faults)
    for expected in (
        "output shape (2, 4, 6)",
        "text_gradient is 0.0",
        "sensitivity is 0.0",
        "parameters without gradient: idle",
        "no GateTap",
    ):
        assert expected in faults
    assert "image_gradient" not in faults
