"""Wrong arguments of scopes are named, with what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gated_models import Direct, Layered, gate_values

from gatefuse_plugins.errors import ConfigError, DataError, GatefuseError, PatternError
from gatefuse_plugins.recording import GateTracker, Neutral, ValuesSink, find_taps, intervene, record_gates


@pytest.mark.parametrize("select", [[], (), None, 5])
def test_a_selection_of_nothing(select: Any) -> None:
    with pytest.raises(PatternError, match="names no gates; expected a pattern"), record_gates(Layered(), select):
        pass


def test_every_pattern_is_checked() -> None:
    for select in (["**", "nope"], ["nope", "**"]):
        with pytest.raises(PatternError, match="nope"):
            find_taps(Layered(), select)
    assert list(find_taps(Layered(), ["**", "ffn.*"])) == ["attention.0", "attention.1", "ffn.0", "ffn.1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_ids": 5}, "sample_ids=5: expected a sequence of ids"),
        ({"sinks": [print]}, r"sinks\[0\] is <built-in function print>; expected a GateSink"),
        ({"sinks": ValuesSink(print)}, "expected a list of GateSink"),
    ],
)
def test_arguments_of_a_recording(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message), record_gates(Direct(), **arguments):
        pass


@pytest.mark.parametrize("ids", [5, "q1", torch.tensor(3)])
def test_ids_of_a_forward_are_a_list(ids: Any) -> None:
    model = Direct()
    scope = record_gates(model, sample_ids=lambda args, kwargs: ids)
    with pytest.raises(GatefuseError, match="expected a list, with an id for each sample"), scope:
        model(gate_values(2))


def test_values_are_kept_by_ids_that_can_be_keys() -> None:
    model = Direct()
    scope = record_gates(model, reduce=None, sample_ids=[["a"], ["b"]])
    with pytest.raises(GatefuseError, match=r"sample id \['a'\]: .*; expected a number or a string"), scope:
        model(gate_values(2))
    tracker = GateTracker(model)
    tracker.enable_gate_tracking()
    tracker.set_current_sample_id([["a"], ["b"]])
    with pytest.raises(GatefuseError, match="expected a number or a string"):
        model(gate_values(2))


def test_a_pass_before_the_first() -> None:
    model = Direct()
    with record_gates(model, reduce=None, sample_ids=np.arange(2)) as gates:
        model(gate_values(2))
    assert gates.values(0, "tap").shape == (5, 3)
    for pass_index in (-5, -1, 1):
        with pytest.raises(DataError, match=f"pass {pass_index} is none"):
            gates.values(0, "tap", pass_index)


@pytest.mark.parametrize(
    ("intervention", "arguments", "message"),
    [
        ("neutral", {}, r"intervention 'neutral': expected an Intervention, such as Neutral\(\)"),
        (Neutral, {}, "expected an Intervention"),
        (Neutral(), {"layers": 0}, r"layers=0: expected a list, such as \[0\]"),
        (Neutral(), {"kinds": "ffn"}, r"kinds='ffn': expected a list, such as \['ffn'\]"),
    ],
)
def test_arguments_of_an_intervention(intervention: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message), intervene(Layered(), intervention, **arguments):
        pass
