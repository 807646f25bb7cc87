"""Residual gate: neutral start, formulas, masks."""

from __future__ import annotations

import pytest
import torch

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates import ResidualGate, gate_taps
from gatefuse_plugins.registry import GATES

D = 4
BRANCH = torch.randn(2, 3, D, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True, True, True], [True, True, False]])
SHAPES = {"scalar": (1, 1, 1), "global": (2, 1, 1), "clipwise": (2, 3, 1), "elementwise": (2, 3, D)}


def spread(gate: ResidualGate) -> ResidualGate:
    torch.manual_seed(0)
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter)
    return gate


@pytest.mark.parametrize("granularity", SHAPES)
def test_bit_identical_at_the_start_and_learns(granularity: str) -> None:
    gate = GATES.build({"type": "ResidualGate", "dim": D, "granularity": granularity})
    out = gate(BRANCH, MASK)
    assert torch.equal(out, BRANCH)
    out.square().sum().backward()
    assert sum(parameter.grad.abs().sum() for parameter in gate.parameters()) > 0


@pytest.mark.parametrize("granularity", SHAPES)
def test_formula_range_and_tap(granularity: str) -> None:
    gate = spread(ResidualGate(D, granularity, hidden_dim=16, kind="ffn", layer=1))
    seen = []
    gate.tap.register_forward_hook(lambda _, args, value: seen.append((args[1] if len(args) > 1 else None, value)))
    out = gate(BRANCH, MASK)
    mask, value = seen[0]
    assert value.shape == SHAPES[granularity]
    assert (mask is MASK) == (granularity in ("clipwise", "elementwise"))
    torch.testing.assert_close(out, BRANCH * value)
    assert 0 <= value.min() < value.max() <= 2 or granularity == "scalar"
    ((_, tap),) = gate_taps(gate)
    assert (tap.kind, tap.low, tap.high, tap.neutral, tap.layer) == ("ffn", 0.0, 2.0, 1.0, 1)


def test_scalar_value() -> None:
    gate = ResidualGate()
    torch.nn.init.constant_(gate.raw, 0.5)
    torch.testing.assert_close(gate(BRANCH), BRANCH * (1 + torch.tanh(torch.tensor(0.5))))


def test_global_evidence_ignores_padding() -> None:
    gate = spread(ResidualGate(D, "global"))
    spoilt = BRANCH.masked_fill(~MASK[..., None], torch.nan)
    torch.testing.assert_close(gate(spoilt, MASK)[1, :2], gate(BRANCH[1:, :2])[0])


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'clipwise'"):
        ResidualGate(D, "clipwize")
    with pytest.raises(ConfigError, match="'global' needs dim"):
        ResidualGate(granularity="global")
