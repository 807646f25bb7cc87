"""Gates on the Q-Former of transformers, alone and as backend of the composed-retrieval host, by YAML rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from qformer_backends import EACH_BACKEND, NEEDS_TRANSFORMERS
from tiny_hosts import tiny_batch, tiny_config, tiny_host
from torch import Tensor, nn

from gatefuse_plugins.gates import gate_taps, named_gate_parameters
from gatefuse_plugins.injection import eject, inject, injected_state, load_injection

RULES = Path(__file__).resolve().parents[2] / "configs" / "fusion"
needs_transformers = [getattr(pytest.mark, mark.name)(*mark.args, **mark.kwargs) for mark in NEEDS_TRANSFORMERS]


def small_qformer() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.Blip2QFormerConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=24,
        encoder_hidden_size=12,
        use_qformer_text_input=True,
    )
    return transformers.Blip2QFormerModel(config).eval()


def run(qformer: nn.Module) -> Tensor:
    """Three query tokens and two text tokens over an image of five."""
    generator = torch.Generator().manual_seed(1)
    tokens, image = (torch.randn(2, *shape, generator=generator) for shape in ((5, 16), (5, 12)))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    return qformer(
        query_embeds=tokens, query_length=3, attention_mask=mask, encoder_hidden_states=image
    ).last_hidden_state


class TestBlip2QFormerModel:
    pytestmark = needs_transformers

    def test_unchanged_at_step_0_and_back(self) -> None:
        host = small_qformer()
        before, keys = run(host), list(host.state_dict())
        plan = inject(host, load_injection(RULES / "blip2_transformers_qformer_gates.yaml"))
        assert torch.equal(run(host), before)
        assert [item.paths[0].removeprefix("encoder.layer.") for item in plan.inserts] == [
            *(f"{layer}.crossattention.output.dense" for layer in (0, 2, 4)),
            *(f"{layer}.output_query.dense" for layer in (0, 1, 2, 3)),
        ]
        assert [(tap.kind, tap.layer) for _, tap in gate_taps(host)] == [
            *(("attention", layer) for layer in (0, 2, 4)),
            *(("ffn", layer) for layer in (0, 1, 2, 3)),
        ]
        assert set(host.state_dict()) - set(injected_state(host)) == set(keys)
        eject(host)
        assert list(host.state_dict()) == keys
        assert torch.equal(run(host), before)

    def test_gates_learn_while_the_host_is_frozen(self) -> None:
        host = small_qformer().requires_grad_(False)
        inject(host, load_injection(RULES / "blip2_transformers_qformer_gates.yaml"))
        gates = dict(named_gate_parameters(host))
        optimizer = torch.optim.SGD(gates.values(), lr=0.5)
        goal = torch.roll(run(host).detach(), 1, dims=-1)
        losses = []
        for _ in range(4):
            loss = (run(host) - goal).square().mean()
            optimizer.zero_grad()
            loss.backward()
            assert [name for name, gate in gates.items() if gate.grad is None or not gate.grad.any()] == []
            optimizer.step()
            losses.append(loss.item())
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < losses[0]

    def test_a_shut_gate_takes_its_branch_away(self) -> None:
        gated, cut = small_qformer(), small_qformer()
        rule = {"pattern": "encoder.layer.2.crossattention.output.dense", "gate": {"type": "ResidualGate"}}
        inject(gated, [rule])
        with torch.no_grad():
            for _name, parameter in named_gate_parameters(gated):
                parameter.fill_(-20.0)  # 1 + tanh(-20) = 0
            branch = cut.encoder.layer[2].crossattention.output.dense
            branch.weight.zero_()
            branch.bias.zero_()
        torch.testing.assert_close(run(gated), run(cut))


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_one_file_of_rules_fits_both_backends_of_the_host(backend: str) -> None:
    options: dict[str, Any] = {"qformer": {**tiny_config()["qformer"], "backend": backend}}
    host, batch = tiny_host(**options).eval(), tiny_batch()
    before = host(mode="loss", **batch)
    plan = inject(host, load_injection(RULES / "blip2_qformer_gates.yaml"))
    after = host(mode="loss", **batch)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [item.paths[0].removeprefix("Qformer.bert.encoder.layer.") for item in plan.inserts] == [
        "0.crossattention.output.dense",
        "0.output_query.dense",
        "1.output_query.dense",
    ]
    sum(after.values()).backward()
    assert all(gate.grad is not None and gate.grad.any() for _name, gate in named_gate_parameters(host))
