"""Injection into a host that knows nothing of gates: neutral at step 0, learning, taken out without a trace."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from injection_hosts import RULES, TEXT, D, Encoder, hook_counts, inputs, stir
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates import gate_parameters, gate_taps
from gatefuse_plugins.injection import eject, inject, injected_state, injection_of


@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_host_keys_are_unchanged(training: bool) -> None:
    host = Encoder().train(training)
    before, keys = host(**inputs()), list(host.state_dict())
    plan = inject(host, RULES)
    assert len(plan.inserts) == 8
    after = host(**inputs())
    assert torch.equal(after, before)
    assert [key for key in host.state_dict() if not key.startswith("gatefuse_injection.")] == keys
    assert len(gate_parameters(host)) == len(list(injected_state(host)))


def test_every_insert_learns_and_acts() -> None:
    host = Encoder()
    inject(host, RULES)
    before = host(**inputs())
    before.square().sum().backward()
    ends = ("raw", "outer_scale", "output.head.2.weight")
    starts = [name for name in injected_state(host) if name.endswith(ends)]
    gradients = dict(host.named_parameters())
    assert len(starts) == 8
    assert all(gradients[name].grad.abs().max() > 0 for name in starts)
    for name in starts:
        changed = Encoder()
        inject(changed, RULES)
        with torch.no_grad():
            changed.get_parameter(name).fill_(0.5)
        assert not torch.equal(changed(**inputs()), before), name


def test_a_gate_acts_on_its_branch_alone() -> None:
    host, reference = Encoder().train(), Encoder().train()
    inject(host, [{"pattern": "layers.1.self_attn", "gate": {"type": "ResidualGate"}}])
    with torch.no_grad():
        host.gatefuse_injection.inserts["layers/1/self_attn/output"].raw.fill_(-20.0)  # 1 + tanh(-20) = 0
        for parameter in reference.layers[1].self_attn.out_proj.parameters():
            parameter.zero_()
    assert torch.equal(host(**inputs()), reference(**inputs()))


def test_eject_restores_the_object() -> None:
    host = Encoder()
    hooks, keys = hook_counts(host), list(host.state_dict())
    attributes, children = [sorted(vars(m)) for m in host.modules()], [list(m._modules) for m in host.modules()]
    before = host(**inputs())
    inject(host, RULES)
    stir(host)
    assert not torch.equal(host(**inputs()), before)
    assert len(eject(host).inserts) == 8
    assert torch.equal(host(**inputs()), before)
    assert (hook_counts(host), list(host.state_dict())) == (hooks, keys)
    assert [sorted(vars(m)) for m in host.modules()] == attributes
    assert [list(m._modules) for m in host.modules()] == children
    with pytest.raises(ConfigError, match="Encoder holds no injection; call inject first"):
        eject(host)


def test_a_wrapper_of_a_host_is_told_from_a_bare_host() -> None:
    host = Encoder()
    inject(host, RULES)
    for wrapper in (nn.DataParallel(host), nn.DataParallel(nn.DataParallel(host))):
        with pytest.raises(ConfigError, match="DataParallel holds no injection; it wraps a host: pass that"):
            eject(wrapper)
    assert len(eject(host).inserts) == 8


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda host: pickle.loads(pickle.dumps(host))])
def test_copies_are_whole_and_apart(clone: Any) -> None:
    host = Encoder()
    plain = host(**inputs())
    inject(host, RULES)
    stir(host)
    before = host(**inputs())
    twin = clone(host)
    assert torch.equal(twin(**inputs()), before)
    stir(twin, value=-0.7)
    assert not torch.equal(twin(**inputs()), before)
    assert torch.equal(host(**inputs()), before)
    eject(twin)
    assert torch.equal(twin(**inputs()), plain)
    assert hook_counts(twin) == hook_counts(Encoder())
    assert injection_of(host).handles


def test_checkpointed_layers_find_their_context_again() -> None:
    gradients = []
    for checkpointed in (False, True):
        host = Encoder(checkpointed)
        inject(host, RULES)
        stir(host)
        # two forwards before the backward pass: each layer that runs again needs the context of its own forward
        loss = host(**inputs(1)).square().sum() + 2 * host(**inputs(2)).square().sum()
        loss.backward()
        gradients.append({name: p.grad for name, p in host.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_compiled_without_graph_break() -> None:
    host = Encoder()
    before = host(**inputs())
    inject(host, RULES)
    torch._dynamo.reset()
    compiled = torch.compile(host, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(**inputs()), before)
    stir(host)
    torch.testing.assert_close(compiled(**inputs(3)), host(**inputs(3)))


def test_autocast_keeps_dtype_and_values() -> None:
    host = Encoder()
    with torch.autocast("cpu", torch.bfloat16):
        before = host(**inputs())
        inject(host, RULES)
        after = host(**inputs())
    assert after.dtype == before.dtype
    torch.testing.assert_close(after, before, rtol=1e-2, atol=1e-2)


def test_half_precision_host() -> None:
    host = Encoder().to(torch.bfloat16)
    batch = {name: x.to(torch.bfloat16) if x.is_floating_point() else x for name, x in inputs().items()}
    before = host(**batch)
    inject(host, RULES)
    assert {p.dtype for p in gate_parameters(host)} == {torch.bfloat16}
    assert torch.equal(host(**batch), before)


def test_sequence_first_tensors_and_tuples() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.attention = nn.MultiheadAttention(D, 2)

        def forward(self, x: Tensor, padding: Tensor) -> Tensor:
            return x + self.attention(x, x, x, key_padding_mask=padding)[0]

    x, padding = torch.randn(5, 2, D, generator=torch.Generator().manual_seed(0)), ~inputs()["mask"]
    gate = {"type": "ResidualGate", "granularity": "global"}
    mask = {"argument": "padding", "invert": True}
    host = Host()
    before = host(x, padding)
    inject(host, [{"pattern": "attention", "gate": gate, "batch_first": False, "mask": mask}])
    assert torch.equal(host(x, padding), before)
    seen: list[Tensor] = []
    ((_, tap),) = gate_taps(host)
    tap.register_forward_hook(lambda module, args, value: seen.append(value))
    host(x, padding)
    assert seen[0].shape == (2, 1, 1)


def test_a_shared_module_gets_one_insert_for_all_its_paths() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            shared = nn.Linear(D, D)
            self.first, self.second = shared, shared

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    host = Host()
    gate = {"type": "ResidualGate"}
    with pytest.raises(ConfigError, match="first, which is the same module as second: an insert acts at all"):
        inject(host, [{"pattern": "first", "gate": gate}])
    assert hook_counts(host) == hook_counts(Host())
    x = inputs()["x"]
    before = host(x)
    plan = inject(host, [{"pattern": "{first,second}", "gate": gate}])
    assert [insert.paths for insert in plan.inserts] == [("first", "second")]
    assert torch.equal(host(x), before)
    eject(host)
    assert list(host.state_dict()) == list(Host().state_dict())


def test_example_fills_in_widths() -> None:
    host = Encoder()
    rule = {"pattern": "layers.1", "fusion": {"type": "TextGuidedImageFusion"}, "context": {"argument": "text"}}
    with pytest.raises(
        ConfigError, match=r"injection.0: TextGuidedImageFusion at layers.1 needs image_dim and text_dim"
    ):
        inject(host, [rule])
    before = host(**inputs())
    plan = inject(host, [rule], example=inputs())
    assert {key: plan.inserts[0].config[key] for key in ("image_dim", "text_dim")} == {"image_dim": D, "text_dim": TEXT}
    assert torch.equal(host(**inputs()), before)


def test_context_of_another_width_is_projected() -> None:
    host = Encoder()
    fusion = {"type": "AvigateCustomFusion", "fusion_layers": 1, "fusion_n_heads": 2}
    rule = {"pattern": "layers.0", "fusion": fusion, "dim": D, "context_dim": TEXT, "context": {"argument": "text"}}
    batch = inputs() | {"text": torch.randn(2, 5, TEXT, generator=torch.Generator().manual_seed(4))}
    before = host(**batch)
    plan = inject(host, [rule])
    assert plan.inserts[0].context_dims == (TEXT, D)
    assert torch.equal(host(**batch), before)
    stir(host)
    assert not torch.equal(host(**batch), before)


def test_a_fusion_that_starts_neutral_gets_no_second_zero() -> None:
    host = Encoder()
    fusion = {"type": "TextGuidedSpatialAttention", "attention_dim": 4}
    rule = {"pattern": "layers.0", "fusion": fusion, "dim": D, "context_dim": TEXT, "context": {"argument": "text"}}
    inject(host, [rule])
    assert not [name for name in injected_state(host) if name.endswith("outer_scale")]
    host(**inputs()).square().sum().backward()
    strength = next(p for name, p in host.named_parameters() if name.endswith("strength"))
    assert strength.grad is not None and strength.grad.abs().max() > 0
