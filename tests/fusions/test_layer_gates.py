"""Gates placed on a host's residual branches by pattern."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, PatternError
from gatefuse_plugins.fusions import place_layer_gates
from gatefuse_plugins.gates import ResidualGate, gate_taps, named_gate_parameters

D = 4


class Layer(nn.Module):
    """A residual layer that offers both branches."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.ffn = nn.Linear(D, D), nn.Linear(D, D)
        self.attention_gate: nn.Module | None = None
        self.ffn_gate: nn.Module | None = None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for branch, gate in ((self.attention, self.attention_gate), (self.ffn, self.ffn_gate)):
            value = branch(x)
            x = x + (value if gate is None else gate(value, mask))
        return x


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer() for _ in range(3))})
        self.head = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.encoder["layers"]:
            x = layer(x)
        return self.head(x)


X = torch.randn(2, 5, D, generator=torch.Generator().manual_seed(0))
RULES: list[dict[str, Any]] = [
    {"pattern": "encoder.layers.{0,2}", "branch": "attention"},
    {"pattern": "**.layers.2", "branch": "ffn", "gate": {"type": "ResidualGate", "granularity": "clipwise"}},
]


def test_outputs_are_bit_identical_until_trained() -> None:
    host = Host()
    before, keys = host(X), set(host.state_dict())
    placed = place_layer_gates(host, RULES, dim=D)
    assert [(p.layer, p.branch) for p in placed] == [
        ("encoder.layers.0", "attention"),
        ("encoder.layers.2", "attention"),
        ("encoder.layers.2", "ffn"),
    ]
    assert torch.equal(host(X), before)
    assert keys < set(host.state_dict())
    host(X).square().sum().backward()
    learning = [name for name, p in named_gate_parameters(host) if p.grad is not None and p.grad.abs().max() > 0]
    assert "encoder.layers.0.attention_gate.raw" in learning
    assert "encoder.layers.2.ffn_gate.head.2.weight" in learning


def test_gates_act_where_they_were_placed() -> None:
    host, reference = Host(), Host()
    place_layer_gates(host, RULES[:1])
    with torch.no_grad():
        host.encoder["layers"][2].attention_gate.raw.fill_(-20.0)  # 1 + tanh(-20) = 0: the branch is closed
        for parameter in reference.encoder["layers"][2].attention.parameters():
            parameter.zero_()
    assert torch.equal(host(X), reference(X))
    assert host.encoder["layers"][1].attention_gate is None


def test_taps_know_kind_and_layer_and_parameters_are_owned() -> None:
    host = Host()
    place_layer_gates(host, RULES, dim=D)
    taps = {name: (tap.kind, tap.layer, tap.neutral) for name, tap in gate_taps(host)}
    assert taps == {
        "encoder.layers.0.attention_gate.tap": ("attention", 0, 1.0),
        "encoder.layers.2.attention_gate.tap": ("attention", 2, 1.0),
        "encoder.layers.2.ffn_gate.tap": ("ffn", 2, 1.0),
    }
    assert {name.split("_gate.")[0] for name, _ in named_gate_parameters(host)} == {
        "encoder.layers.0.attention",
        "encoder.layers.2.attention",
        "encoder.layers.2.ffn",
    }


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ({"pattern": "encodr.layers.*", "branch": "ffn"}, PatternError, r"nothing in Host; nearest names: 'encoder.la"),
        ({"pattern": "head", "branch": "ffn"}, PatternError, "head, a Linear without attribute 'ffn_gate'"),
        ({"pattern": "encoder.layers.*", "branch": "fnn"}, ConfigError, r"layer_gates.1.branch.*did you mean 'ffn'"),
        ({"pattern": "encoder.layers.*"}, ConfigError, "layer_gates.1 has no 'branch'"),
        ({"pattern": "head", "brnch": "ffn"}, ConfigError, "layer_gates.1.brnch is unknown; did you mean 'branch'"),
        (
            {"pattern": "**.0", "branch": "attention"},
            ConfigError,
            "branch of encoder.layers.0 would get a second",
        ),
        (
            {"pattern": "**.1", "branch": "ffn", "gate": {"type": "ResidualGat"}},
            ConfigError,
            "did you mean 'ResidualGate'",
        ),
    ],
)
def test_a_faulty_rule_is_named_and_changes_nothing(rule: dict, error: type[Exception], message: str) -> None:
    host = Host()
    keys = set(host.state_dict())
    with pytest.raises(error, match=message):
        place_layer_gates(host, [RULES[0], rule], dim=D)
    assert set(host.state_dict()) == keys


def test_a_placed_branch_takes_no_second_gate() -> None:
    host = Host()
    place_layer_gates(host, RULES[:1])
    assert isinstance(host.encoder["layers"][0].attention_gate, ResidualGate)
    with pytest.raises(ConfigError, match="second gate"):
        place_layer_gates(host, RULES[:1])
