"""Rules for models that no fork's table covers, and what a faulty one says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from foreign_models import DIM, MODELS, build, run
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.legacy import FORKS, GateRule, adapt_legacy_model
from gatefuse_plugins.errors import ConfigError, PatternError
from gatefuse_plugins.recording.recorder import record_gates


def test_own_rules_are_three_lines_of_config() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.door = nn.Linear(DIM, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": x * self.door(x).sigmoid()}

    model, x = Mine(), torch.ones(2, 3, DIM)
    rules = [{"pattern": "door", "kind": "query", "low": 0.0, "high": 1.0, "squash": "sigmoid"}]
    with adapt_legacy_model(model, rules), record_gates(model, "door.query_tap") as gates:
        out = model(x)["out"]
    assert gates.summary()["door.query_tap"].mean == pytest.approx(out[0, 0, 0].item(), abs=1e-6)


@pytest.mark.parametrize("place", ["gate", 1])
def test_gate_in_a_dict_or_list(place: str | int) -> None:
    class Keyed(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return {"kept": x, "gate": x / 2} if place == "gate" else [x, x / 2]

    model, x = Keyed(), torch.ones(2, 3, DIM)
    with adapt_legacy_model(model, [{"pattern": "**", "kind": "query", "item": place}]) as adapted:
        with record_gates(model) as gates:
            plain = model(x)
        assert gates.summary()["query_tap"].mean == 0.5
        adapted.taps["query_tap"].register_forward_hook(lambda module, args, output: output * 3)
        changed = model(x)
    assert type(changed) is type(plain)
    assert torch.equal(changed[place], 3 * plain[place])
    other = "kept" if place == "gate" else 0
    assert changed[other] is x


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        (
            [{"pattern": "fusion.gatingfunction", "kind": "query"}],
            PatternError,
            "matches nothing in MomentModel; nearest",
        ),
        ([{"pattern": "fusion", "kind": "qery"}], ConfigError, "did you mean 'query'"),
        ([{"pattern": "fusion", "kind": "query", "squash": "relu"}], ConfigError, "squash 'relu' is unknown"),
        ([{"pattern": "fusion", "kind": "query", "itm": 0}], ConfigError, "did you mean 'item'"),
        ([{"kind": "query"}], ConfigError, "pattern missing"),
        ([{"pattern": "fusion", "kind": "query", "mask": "src_vid_msk"}], ConfigError, "did you mean 'src_vid_mask'"),
        ([{"pattern": "fusion", "kind": "query"}] * 3, ConfigError, "has a query gate already"),
        ([{"pattern": "gone", "kind": "query", "optional": True}], ConfigError, "name no gate"),
        ("qd_detr_tanhh", ConfigError, "did you mean 'qd_detr_tanh'"),
        ("avigate", PatternError, "matches nothing"),
    ],
)
def test_faulty_rules_leave_the_model_alone(rules: Any, error: type[Exception], message: str) -> None:
    model = build("qd_detr_tanh")
    with pytest.raises(error, match=message):
        adapt_legacy_model(model, rules)
    assert repr(model) == repr(build("qd_detr_tanh"))


def test_faults_that_only_the_model_shows() -> None:
    with pytest.raises(ConfigError, match=r"Linear is none of the known forks \(qd_detr_sigmoid"):
        adapt_legacy_model(nn.Linear(2, 2))
    model = build("qd_detr_tanh")
    adapted = adapt_legacy_model(model)
    with pytest.raises(ConfigError, match="has taps of an adapter already"):
        adapt_legacy_model(model)
    assert adapted.eject() is model and adapted.eject() is model
    with adapt_legacy_model(model, [GateRule("**.gating_function", "query", item=5)]):  # noqa: SIM117
        with pytest.raises(ConfigError, match="item 5 is not in the module's output, a tuple"):
            run(model)
    with pytest.raises(ConfigError, match="containers only"):
        adapt_legacy_model(nn.Sequential(nn.Sequential(nn.ReLU())), [GateRule("0", "query")])


def test_every_fork_is_distinguished_or_stated() -> None:
    assert set(MODELS) == set(FORKS) - {"qd_detr_ssm"}
