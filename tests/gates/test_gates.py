"""Gates: shapes of the granularities, squash formulas, taps, ownership."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates import (
    ConcatLinear,
    Gate,
    GateTap,
    SigmoidGate,
    SigmoidSquash,
    TanhGate,
    gate_parameters,
    gate_taps,
    named_gate_parameters,
)
from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.registry import GATES, MODELS

SHAPES = {"global": (2, 1, 1), "clipwise": (2, 5, 1), "elementwise": (2, 5, 6), "headwise": (2, 3, 1, 1)}


@pytest.mark.parametrize("granularity", SHAPES)
def test_granularities_have_their_shapes(granularity: str) -> None:
    gate = TanhGate(10, 8, granularity=granularity, feature_dim=6, num_heads=3)
    value = gate(torch.randn(2, 5, 6), torch.randn(2, 5, 4), mask=torch.ones(2, 5, dtype=torch.bool))
    assert value.shape == SHAPES[granularity]
    assert value.abs().max() < 1


@pytest.mark.parametrize("granularity", ["global", "headwise"])
def test_pooled_gates_ignore_padding(granularity: str) -> None:
    gate = TanhGate(6, 8, granularity=granularity, num_heads=3)
    x = torch.randn(1, 5, 6)
    mask = torch.tensor([[True, True, True, False, False]])
    spoilt = x.clone()
    spoilt[:, 3:] = torch.nan
    torch.testing.assert_close(gate(spoilt, mask=mask), gate(x[:, :3]))


def test_masked_mean() -> None:
    x = torch.tensor([[[2.0], [4.0], [torch.inf]], [[torch.nan], [1.0], [1.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(x, mask).tolist() == [[3.0], [0.0]]


def test_sigmoid_squash_formula() -> None:
    raw = torch.linspace(-4, 4, 9)
    squash = SigmoidSquash(temperature=1.5, bias_init=0.3, scale_init=0.7)
    torch.testing.assert_close(squash(raw), 0.7 / (1 + torch.exp(-(raw + 0.3) / 1.5)))
    assert (squash.low, squash.high) == (0.0, 0.7)
    assert not list(squash.parameters()) and not squash.state_dict()
    learned = SigmoidSquash(1.5, 0.3, 0.7, learnable=True)
    assert {name: value.item() for name, value in learned.named_parameters()} == pytest.approx(
        {"bias": 0.3, "scale": 0.7}
    )
    assert learned.high is None  # the scale may grow
    with pytest.raises(ConfigError, match="temperature must be above 0, got 0"):
        SigmoidSquash(temperature=0)


def test_gate_value_is_the_squashed_head() -> None:
    gate = SigmoidGate(6, 8, temperature=2.0, granularity="clipwise")
    x, y = torch.randn(2, 5, 2), torch.randn(2, 5, 4)
    torch.testing.assert_close(gate(x, y), torch.sigmoid(gate.head(torch.cat([x, y], dim=-1)) / 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularity": "clipwize"}, "did you mean 'clipwise'"),
        ({"granularity": "elementwise"}, "needs feature_dim"),
        ({"granularity": "headwise"}, "needs num_heads"),
        ({"kind": "imag"}, "did you mean 'image'"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TanhGate(4, 4, **options)


def test_taps_carry_kind_range_and_layer() -> None:
    (name, tap), *others = gate_taps(TanhGate(4, 4, kind="ffn", layer=2))
    assert not others and name == "tap"
    assert (tap.kind, tap.low, tap.high, tap.neutral, tap.layer) == ("ffn", -1.0, 1.0, 0.0, 2)
    value = torch.randn(3)
    assert tap(value) is value
    assert not tap.state_dict()


def test_tap_hands_the_mask_to_observers_for_unpooled_gates_only() -> None:
    seen = []
    mask = torch.ones(2, 5, dtype=torch.bool)
    for granularity in ("clipwise", "global"):
        gate = TanhGate(6, 4, granularity=granularity)
        gate.tap.register_forward_hook(lambda _, args, __: seen.append(args[1]))
        gate(torch.randn(2, 5, 6), mask=mask)
    assert seen[0] is mask and seen[1] is None


def test_concat_linear_equals_linear_over_the_concatenation() -> None:
    layer, plain = ConcatLinear(6, 4, 5), nn.Linear(10, 5)
    plain.load_state_dict(layer.state_dict())
    x, context = torch.randn(2, 3, 6), torch.randn(2, 4)
    expected = plain(torch.cat([x, context[:, None].expand(-1, 3, -1)], dim=-1))
    torch.testing.assert_close(layer(x, context), expected)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, context), expected)


def test_gate_parameters_are_owned_by_structure_and_listed_once() -> None:
    gate = TanhGate(4, 4)
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "gate_lookalike": nn.Linear(2, 2), "a": gate, "b": gate})
    names = [name for name, _ in named_gate_parameters(model)]
    assert names == ["a.head.0.weight", "a.head.0.bias", "a.head.2.weight", "a.head.2.bias"]
    assert [id(p) for p in gate_parameters(model)] == [id(p) for p in gate.parameters()]


def test_gates_are_built_from_their_registries() -> None:
    config = {"type": "TanhGate", "evidence_dim": 4, "hidden_dim": 4}
    assert isinstance(GATES.build(config), Gate)
    assert isinstance(MODELS.build({**config, "type": "gatefuse.TanhGate"}).tap, GateTap)
