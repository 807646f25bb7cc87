"""What mmengine does with a model around an injection: skeletons, initialisation, optimizers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from injection_hosts import RULES, D, Encoder, inputs, stir
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates import gate_parameters, gate_taps
from gatefuse_plugins.injection import eject, inject, injected_state
from gatefuse_plugins.registry import MODELS

GATES = [{"pattern": "encoder.layers.*.self_attn", "gate": {"type": "ResidualGate", "granularity": "clipwise"}}]


class Wrapped(BaseModel):
    """A host as mm* projects write them; ``all_weights`` also goes over every parameter, as DETR's do."""

    def __init__(self, init_cfg: dict[str, Any] | None = None, all_weights: bool = False) -> None:
        super().__init__(init_cfg=init_cfg)
        self.encoder = Encoder()
        self.all_weights = all_weights

    def init_weights(self) -> None:
        super().init_weights()
        if self.all_weights:
            for parameter in self.parameters():
                nn.init.ones_(parameter)

    def forward(self, **batch: Tensor) -> Tensor:
        return self.encoder(**batch)


@pytest.fixture
def registered() -> Any:
    """``Wrapped`` as a member of the registry, for as long as the test runs."""
    MODELS.register_module(name="WrappedTestHost", module=Wrapped)
    yield "gatefuse.WrappedTestHost"
    MODELS.module_dict.pop("WrappedTestHost")


@pytest.mark.parametrize("all_weights", [False, True])
@pytest.mark.parametrize("clone", [lambda host: host, copy.deepcopy, lambda host: pickle.loads(pickle.dumps(host))])
def test_the_hosts_initialisation_leaves_inserts_as_they_are(all_weights: bool, clone: Callable[[Any], Any]) -> None:
    init = {"type": "Constant", "layer": "Linear", "val": 0.1, "bias": 0.2}
    plain, host = Wrapped(init, all_weights), Wrapped(init, all_weights)
    inject(host, GATES)
    host = clone(host)
    before = injected_state(host)
    for model in (plain, host):
        model.init_weights()  # mmengine's Runner calls it when training starts
    assert (plain.encoder.text.bias == (1.0 if all_weights else 0.2)).all()
    after = injected_state(host)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(host(**inputs()), plain(**inputs()))
    eject(host)
    assert "init_weights" not in vars(host)
    assert list(host.state_dict()) == list(plain.state_dict())


def test_a_slot_survives_initialisation_too() -> None:
    class Slotted(BaseModel):
        def __init__(self) -> None:
            super().__init__(init_cfg={"type": "Constant", "layer": "Linear", "val": 0.1, "bias": 0.2})
            self.linear, self.ffn_gate = nn.Linear(D, D), None

        def forward(self, x: Tensor) -> Tensor:
            branch = self.linear(x)
            return x + (branch if self.ffn_gate is None else self.ffn_gate(branch, None))

    class Host(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Slotted()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    plain, host = Host(), Host()
    gate = {"type": "ResidualGate", "granularity": "elementwise", "dim": D}
    inject(host, [{"pattern": "layer", "at": "ffn_gate", "gate": gate}])
    assert [tap.kind for _, tap in gate_taps(host)] == ["ffn"]
    for model in (plain, host):
        model.init_weights()
    assert torch.equal(host(inputs()["x"]), plain(inputs()["x"]))


def test_a_skeleton_on_meta_holds_the_inserts(registered: str) -> None:
    config = {"type": "gatefuse.Injected", "host": registered, "injection": _moved(RULES)}
    real = MODELS.build(config)
    with torch.device("meta"):
        skeleton = MODELS.build(config)
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (real, skeleton)]
    assert shapes[0] == shapes[1]
    assert all(value.is_meta for value in skeleton.state_dict().values())
    skeleton.to_empty(device="cpu").load_state_dict(real.state_dict())
    stir(real)
    stir(skeleton)
    assert torch.equal(skeleton(**inputs()), real(**inputs()))
    with pytest.raises(ConfigError, match="Encoder lies on the meta device"), torch.device("meta"):
        inject(Encoder(), RULES)


def _moved(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules for an Encoder that is the child ``encoder`` of a host whose forward takes keywords."""
    moved = []
    for rule in rules:
        changed = rule | {"pattern": f"encoder.{rule['pattern']}"}
        if "module" in rule.get("context", {}):
            changed["context"] = {"module": f"encoder.{rule['context']['module']}"}
        moved.append(changed)
    return moved


def wrapper(**paramwise: Any) -> dict[str, Any]:
    return {
        "constructor": "GateOptimWrapperConstructor",
        "optimizer": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.1},
        "paramwise_cfg": paramwise,
    }


def test_gates_get_a_learning_rate_of_their_own() -> None:
    host = Wrapped()
    host.encoder.text.requires_grad_(False)
    inject(host, _moved(RULES))
    optimizer = build_optim_wrapper(host, wrapper(gate_lr_mult=10, gate_decay_mult=0.0)).optimizer
    rest, gates = optimizer.param_groups
    assert (rest["lr"], rest["weight_decay"]) == (1e-3, 0.1)
    assert (gates["lr"], gates["weight_decay"]) == (1e-2, 0.0)
    assert [id(p) for p in gates["params"]] == [id(p) for p in gate_parameters(host)]
    everything = {id(p) for p in host.parameters() if p.requires_grad}
    assert {id(p) for p in rest["params"]} == everything - {id(p) for p in gates["params"]}
    before = host(**inputs())
    for group in (rest, gates):
        group["weight_decay"] = 0.0
    before.square().sum().backward()
    optimizer.step()
    raw = host.gatefuse_injection.inserts["encoder/layers/0/self_attn/output"].raw
    assert raw.abs().item() == pytest.approx(1e-2, rel=1e-3)  # Adam's first step is one learning rate long
    moved = host.encoder.parts["head"][2].bias - Wrapped().encoder.parts["head"][2].bias
    assert moved.abs().max().item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (wrapper(gate_lr=10), "paramwise_cfg.gate_lr is unknown; did you mean 'gate_lr_mult'"),
        (wrapper(gate_lr_mult="10"), "gate_lr_mult: '10'; expected a number of at least 0"),
        (wrapper(gate_lr_mult=-1), "gate_lr_mult: -1; expected a number of at least 0"),
        (
            wrapper(gate_decay_mult=0) | {"optimizer": {"type": "SGD", "lr": 0.1}},
            "optim_wrapper.optimizer.weight_decay: missing; paramwise_cfg.gate_decay_mult multiplies it",
        ),
    ],
)
def test_faulty_optimizer_options_are_named(config: dict[str, Any], message: str) -> None:
    host = Wrapped()
    inject(host, GATES)
    with pytest.raises(ConfigError, match=message):
        build_optim_wrapper(host, config)


def test_a_model_without_gates_has_nothing_to_give_a_rate() -> None:
    with pytest.raises(ConfigError, match="Wrapped has no gate parameters"):
        build_optim_wrapper(Wrapped(), wrapper(gate_lr_mult=10))
