"""Scopes over gates that no value passes: a compiled wrapper is called, or nothing at all."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from gated_models import Direct, gate_values
from torch import Tensor, nn

from gatefuse_plugins.recording import Neutral, intervene, profile_gates, record_gates


class Host(nn.Module):
    """A tap two levels down, as compiled code skips it."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Direct()

    def forward(self, value: Tensor) -> Tensor:
        return 2 * self.part(value)


def open_scope(name: str, model: nn.Module) -> AbstractContextManager[Any]:
    if name == "intervention neutral":
        return intervene(model, Neutral())
    return record_gates(model) if name == "record_gates" else profile_gates(model)


@pytest.mark.parametrize("name", ["record_gates", "profile_gates", "intervention neutral"])
def test_a_compiled_wrapper_called_inside_is_warned_about(name: str) -> None:
    model, values = Host(), gate_values(1)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    expected = compiled(values)
    message = f"{name}: no value passed its only gate: is a compiled wrapper"
    with pytest.warns(UserWarning, match=message) as caught, open_scope(name, model):
        found = compiled(values)
    assert torch.equal(found, expected) and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_scope(name, model):
            model(values)
        with pytest.raises(RuntimeError, match="own"), open_scope(name, model):
            raise RuntimeError("an error of one's own stays as it is")


def test_a_scope_without_a_forward_does_not_raise() -> None:
    with pytest.warns(UserWarning, match="another model"), record_gates(Host()) as gates:
        pass
    assert gates.summary() == {} and not gates.passed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with record_gates(nn.Linear(2, 2)), record_gates(Host(), warn=False):
            pass
