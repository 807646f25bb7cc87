"""Layer-aware decay: factors, start, gradients, taps."""

from __future__ import annotations

import pytest
import torch
from tiny_avigate import tiny_avigate, tiny_batch
from torch import Tensor

from gatefuse_plugins.gates import GateTap, gate_parameters, gate_taps
from gatefuse_plugins.hosts.avigate.decay import LayerDecay


def test_fixed_decay_leaves_the_last_layer_a_share() -> None:
    factors = [LayerDecay(layer, 4).factor for layer in range(4)]
    assert factors == [1.0, 0.75, 0.5, 0.25]
    assert LayerDecay(0, 1).factor == 1.0 and not LayerDecay(3, 4).state_dict()
    assert (LayerDecay(3, 4).tap.low, LayerDecay(3, 4).tap.high) == (-0.25, 0.25)


def test_learnable_decay_starts_half_a_step_below_and_learns() -> None:
    decays = [LayerDecay(layer, 4, learnable=True) for layer in range(4)]
    assert [decay.factor.item() for decay in decays] == pytest.approx([0.875, 0.625, 0.375, 0.125])
    decays[0](torch.ones(2)).sum().backward()
    assert decays[0].logit.grad.item() == pytest.approx(2 * 0.875 * 0.125)
    assert [p is decays[0].logit for p in gate_parameters(decays[0])] == [True]


@pytest.mark.parametrize("decay_ffn", [False, True])
def test_taps_see_the_value_before_and_after_decay(decay_ffn: bool) -> None:
    model = tiny_avigate(layer_decay="fixed", decay_ffn=decay_ffn)
    seen: dict[str, Tensor] = {}
    for name, tap in gate_taps(model):
        tap.register_forward_hook(lambda _, __, value, name=name: seen.__setitem__(name, value))
    with torch.no_grad():
        model(**tiny_batch())
    for layer, factor in enumerate((1.0, 0.5)):
        block = f"transformerClip.resblocks.{layer}"
        torch.testing.assert_close(seen[f"{block}.attn_decay.tap"], seen[f"{block}.attn_gate.tap"] * factor)
        assert seen[f"{block}.attn_gate.tap"].abs().max() > 1e-3
        assert (f"{block}.ff_decay.tap" in seen) == decay_ffn
    assert isinstance(model.transformerClip.resblocks[1].attn_decay.tap, GateTap)


def test_decay_changes_the_output_where_layers_are_damped() -> None:
    with torch.no_grad():
        plain, fixed = (tiny_avigate(layer_decay=decay)(**tiny_batch()) for decay in ("off", "fixed"))
    assert (plain - fixed).abs().max() > 1e-3
