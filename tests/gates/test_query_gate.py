"""Query gate and evidence gates: parameter counts, formula, shares of the streams, neutral value."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates import gate_parameters, gate_taps
from gatefuse_plugins.gates.query_gate import QueryGate, quick_gelu, tanh_evidence_gate
from gatefuse_plugins.registry import GATES


def test_quick_gelu_is_the_same_with_and_without_autograd() -> None:
    x = torch.linspace(-4, 4, 9)
    expected = x * torch.sigmoid(1.702 * x)
    torch.testing.assert_close(quick_gelu(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(quick_gelu(x.clone()), expected)


def test_the_published_number_of_parameters_and_names() -> None:
    gate = QueryGate(512)
    assert sum(parameter.numel() for parameter in gate.parameters()) == 393_472
    assert {name: tuple(value.shape) for name, value in gate.state_dict().items()} == {
        "qg_fc.weight": (256, 1536),
        "qg_proj.weight": (1, 256),
    }
    assert len(gate_parameters(gate)) == 2


def test_the_start_is_pytorchs_default() -> None:
    gate = QueryGate(512)
    for layer in (gate.qg_fc, gate.qg_proj):
        bound = layer.in_features**-0.5  # kaiming_uniform with a = sqrt(5)
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize(("heads", "shape"), [(None, (5, 1, 1)), (4, (5, 4, 1, 1))])
def test_value_is_the_sigmoid_of_the_head_over_the_concatenation(heads: int | None, shape: tuple[int, ...]) -> None:
    gate = QueryGate(8, heads)
    streams = torch.randn(3, 5, 8).unbind(0)
    hidden = F.linear(torch.cat(streams, dim=-1), gate.qg_fc.weight)
    expected = torch.sigmoid(F.linear(hidden * torch.sigmoid(1.702 * hidden), gate.qg_proj.weight))
    value = gate(*streams)
    assert value.shape == shape
    torch.testing.assert_close(value.flatten(1), expected)
    parts = [gate.part(name, stream) for name, stream in zip(("video", "audio", "text"), streams, strict=True)]
    with torch.no_grad():
        kept = [part.clone() for part in parts]
        torch.testing.assert_close(gate.from_parts(parts), value)
        gate.from_parts(parts[:1])
    assert all(torch.equal(a, b) for a, b in zip(parts, kept, strict=True))  # shares are reused for other pairs


def test_inactive_samples_are_neutral_before_the_tap() -> None:
    active = torch.tensor([True, False, True])
    for gate, neutral in ((QueryGate(8), 1.0), (tanh_evidence_gate(8, "ag", "attention"), 0.0)):
        seen = []
        gate.tap.register_forward_hook(lambda _, __, value, seen=seen: seen.append(value))
        streams = torch.randn(len(gate.streams), 3, 8).unbind(0)
        value = gate(*streams, active=active)
        assert value[1].item() == neutral and seen[0] is value
        torch.testing.assert_close(value[active], gate(*streams)[active])


def test_taps_say_kind_range_neutral_and_layer() -> None:
    (_, query), *_ = gate_taps(QueryGate(4, layer=2))
    assert (query.kind, query.low, query.high, query.neutral, query.layer) == ("query", 0.0, 1.0, 1.0, 2)
    (_, ffn), *_ = gate_taps(tanh_evidence_gate(4, "fg", "ffn", 1))
    assert (ffn.kind, ffn.low, ffn.high, ffn.neutral, ffn.layer) == ("ffn", -1.0, 1.0, 0.0, 1)


def test_the_text_layer_changes_nothing_at_its_start_and_then_something() -> None:
    plain, texted = tanh_evidence_gate(8, "ag", "attention"), tanh_evidence_gate(8, "ag", "attention", text_layer=True)
    assert set(texted.state_dict()) == {"ag_fc.weight", "ag_proj.weight", "ag_text.weight"}
    texted.load_state_dict({**plain.state_dict(), "ag_text.weight": torch.zeros(4, 8)})
    video, audio, text = torch.randn(3, 5, 8).unbind(0)
    fresh = tanh_evidence_gate(8, "ag", "attention", text_layer=True)
    assert fresh.ag_text.weight.count_nonzero() == 0
    torch.testing.assert_close(texted(video, audio, text), plain(video, audio))
    texted(video, audio, text).sum().backward()
    assert texted.ag_text.weight.grad.abs().max() > 0


def test_wrong_streams_and_widths_are_named() -> None:
    with pytest.raises(ConfigError, match="no stream 'txt'; did you mean 'text'"):
        QueryGate(4).part("txt", torch.zeros(1, 4))
    with pytest.raises(ConfigError, match="width 1"):
        QueryGate(1)
    assert isinstance(GATES.build({"type": "QueryGate", "dim": 4}), QueryGate)


def test_the_outer_scale_closes_the_gate_and_learns_before_it() -> None:
    """``1 - s (1 - w)`` with s = 0 is 1 exactly; s has a gradient at once, the weights once s moved."""
    gate = QueryGate(8, num_heads=2, outer_scale=True)
    plain = QueryGate(8, num_heads=2)
    plain.load_state_dict({name: value for name, value in gate.state_dict().items() if name != "outer_scale"})
    streams = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    assert set(gate.state_dict()) == {"qg_fc.weight", "qg_proj.weight", "outer_scale"}
    value = gate(*streams)
    assert torch.equal(value, torch.ones_like(value))
    value.sum().backward()
    assert gate.outer_scale.grad == (plain(*streams) - 1).sum().detach()
    assert gate.qg_fc.weight.grad.count_nonzero() == gate.qg_proj.weight.grad.count_nonzero() == 0
    with torch.no_grad():
        gate.outer_scale.fill_(0.5)
    gate(*streams).sum().backward()
    assert gate.qg_fc.weight.grad.count_nonzero() and gate.qg_proj.weight.grad.count_nonzero()
    torch.testing.assert_close(gate(*streams), 1 - 0.5 * (1 - plain(*streams)))
    with torch.no_grad():
        gate.outer_scale.fill_(1.0)
    torch.testing.assert_close(gate(*streams), plain(*streams))
    assert (gate.tap.low, gate.tap.high, gate.tap.neutral) == (None, None, 1.0)
