"""Injection into the project's own hosts and into a transformers model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moment_hosts import TEXT, VIDEO, small_batch, small_host

from gatefuse_plugins.config import load_config
from gatefuse_plugins.errors import ConfigError, PatternError
from gatefuse_plugins.gates import gate_taps, named_gate_parameters
from gatefuse_plugins.injection import eject, fusion_context, inject, injected_state, load_injection
from gatefuse_plugins.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def predictions(host: torch.nn.Module, batch: dict[str, Any]) -> list[np.ndarray]:
    with torch.no_grad():
        found = host(mode="predict", **batch)[0]
    return [*found["windows"], *found["saliency"]]


def test_qd_detr_by_yaml_is_qd_detr_by_its_python_config() -> None:
    rules = load_injection(CONFIGS / "fusion" / "qd_detr_layer_gates.yaml")
    leaf = load_config(CONFIGS / "qvhighlights_layer_gates.py").model
    assert (leaf.type, leaf.host, leaf.injection) == ("Injected", "QDDETR", rules)
    host, batch = small_host(), small_batch()
    before, keys = predictions(host, batch), list(host.state_dict())
    inject(host, rules)
    assert all(map(np.array_equal, predictions(host, batch), before))
    sizes = {"video_dim": VIDEO, "text_dim": TEXT, "hidden_dim": 12, "nheads": 2, "dim_feedforward": 16}
    model = {"type": "gatefuse.Injected", "host": leaf.host, "injection": leaf.injection, "num_queries": 4, **sizes}
    configured = MODELS.build(model).eval()
    assert list(host.state_dict()) == list(configured.state_dict())
    assert set(host.state_dict()) - set(keys) == {
        f"transformer.{layer}_gate.raw"
        for stack, branches in (("t2v_encoder", ("attention",)), ("encoder", ("attention", "ffn")))
        for layer in (f"{stack}.layers.{index}.{branch}" for index in (0, 1) for branch in branches)
    }
    taps = [[(name, tap.kind) for name, tap in gate_taps(model)] for model in (host, configured)]
    assert taps[0] == taps[1]
    with torch.no_grad():
        for _name, parameter in named_gate_parameters(host):
            parameter.fill_(0.4)
    configured.load_state_dict(host.state_dict())
    moved = predictions(host, batch)
    assert all(map(np.array_equal, moved, predictions(configured, batch)))
    assert not all(map(np.array_equal, moved, before))
    eject(host)
    assert list(host.state_dict()) == keys
    assert vars(host.transformer.encoder.layers[0])["ffn_gate"] is None
    assert all(map(np.array_equal, predictions(host, batch), before))


def test_qd_detr_gets_audio_without_knowing_of_it() -> None:
    host, batch = small_host(), small_batch(audio=True)
    streams = {name: batch.pop(name) for name in ("audio", "audio_mask")}
    before = predictions(host, batch)
    rule = {
        "pattern": "transformer.t2v_encoder",
        "at": "input",
        "fusion": {"type": "AvigateCustomFusion", "fusion_layers": 1, "fusion_n_heads": 2},
        "dim": 12,
        "mask": {"argument": "video_mask"},
        "context_dim": streams["audio"].shape[-1],
        "context": {"given": "audio"},
        "context_mask": {"given": "audio_mask"},
    }
    inject(host, [rule])
    with fusion_context(**streams):
        assert all(map(np.array_equal, predictions(host, batch), before))
        with torch.no_grad():
            next(p for name, p in host.named_parameters() if name.endswith("outer_scale")).fill_(1.0)
        assert not all(map(np.array_equal, predictions(host, batch), before))


def test_q_former_gates_by_yaml_and_by_the_leaf() -> None:
    from mmengine.registry import DefaultScope
    from tiny_hosts import tiny_batch, tiny_config, tiny_host

    rules = load_injection(CONFIGS / "fusion" / "blip2_qformer_gates.yaml")
    leaf = load_config(CONFIGS / "cirr_qformer_gates.py")
    assert load_injection(CONFIGS / "cirr_qformer_gates.py") == rules
    host, batch = tiny_host().eval(), tiny_batch()
    before, keys = host(mode="loss", **batch), set(host.state_dict())
    plan = inject(host, rules)
    after = host(mode="loss", **batch)
    assert {name: torch.equal(after[name], value) for name, value in before.items()} == dict.fromkeys(before, True)
    assert set(host.state_dict()) - set(injected_state(host)) == keys
    assert [(i.paths[0].removeprefix("Qformer.bert.encoder.layer."), i.config["layer"]) for i in plan.inserts] == [
        ("0.crossattention.output.dense", 0),  # every second layer attends to the image
        ("0.output_query.dense", 0),
        ("1.output_query.dense", 1),
    ]
    sum(after.values()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for _name, p in named_gate_parameters(host))
    torch.manual_seed(3)
    with DefaultScope.overwrite_default_scope("gatefuse"):
        config = tiny_config(type="Injected", host=leaf.model.host, injection=leaf.model.injection)
        built = MODELS.build(config)
        full = MODELS.build(leaf.model)
    assert len(injected_state(full)) == len(plan.inserts) + 1  # its cross-attention is in both layers
    assert set(built.state_dict()) == set(host.state_dict())
    again = built.eval()(mode="loss", **batch)
    assert all(torch.equal(again[name], value) for name, value in before.items())


def test_selected_q_former_layers_and_the_right_place_in_a_block() -> None:
    from tiny_hosts import tiny_batch, tiny_config, tiny_host

    host = tiny_host(qformer=tiny_config()["qformer"] | {"num_hidden_layers": 6}).eval()
    batch, before = tiny_batch(), list(host.state_dict())
    expected = host(mode="loss", **batch)
    pattern, gate = "Qformer.bert.encoder.layer.{0,2,4}.crossattention", {"type": "ResidualGate"}
    with pytest.raises(
        ConfigError, match=r"\((Bert|Named)Attention\) gives the normalised sum.*name '.*\{0,2,4\}.crossattention"
    ):
        inject(host, [{"pattern": pattern, "gate": gate}])
    with pytest.raises(ConfigError, match=r"\((Bert|Blip2QFormer)SelfOutput\) .*name '.*crossattention.output.dense'"):
        inject(host, [{"pattern": f"{pattern}.output", "gate": gate}])
    with pytest.raises(
        PatternError, match=r"matches nothing.*nearest names: .*layer.[024].crossattention.output.dense"
    ):
        inject(host, [{"pattern": "Qformer.bert.encoder.layer.{1,3}.crossattention.output.dense", "gate": gate}])
    assert list(host.state_dict()) == before
    new = {
        "type": "GatedFeedForward",
        "dim": 16,
        "hidden_dim": 4,
    }  # brings its own branch, so a whole block may take it
    plan = inject(
        host,
        [{"pattern": f"{pattern}.output.dense", "gate": gate}, {"pattern": pattern, "gate": new}],
    )
    assert [insert.config["layer"] for insert in plan.inserts] == [0, 2, 4] * 2
    after = host(mode="loss", **batch)
    assert all(torch.equal(after[name], value) for name, value in expected.items())
    with torch.no_grad():
        for _name, parameter in named_gate_parameters(host):
            parameter.add_(0.1)
    assert not all(torch.equal(value, expected[name]) for name, value in host(mode="loss", **batch).items())


def test_bert_learns_to_attend_to_a_given_stream() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    host = transformers.BertModel(transformers.BertConfig(vocab_size=20, **sizes)).eval()
    ids, mask = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    before, keys = host(ids, attention_mask=mask).last_hidden_state, set(host.state_dict())
    gates = {"pattern": "encoder.layer.{0,2}.attention.output.dense", "gate": {"type": "ResidualGate"}}
    inject(host, [*load_injection(CONFIGS / "fusion" / "bert_cross_attention.yaml"), gates])
    image = torch.randn(2, 5, 12)
    with fusion_context(image=image, image_mask=torch.ones(2, 5, dtype=torch.bool)):
        after = host(ids, attention_mask=mask).last_hidden_state
        assert torch.equal(after, before)
        assert set(host.state_dict()) - set(injected_state(host)) == keys
        after.square().sum().backward()
        host.gatefuse_injection.inserts["encoder/layer/1/output"].fusion.raw.data.fill_(0.5)
        assert not torch.equal(host(ids, attention_mask=mask).last_hidden_state, before)
    learned = [name for name, p in named_gate_parameters(host) if p.grad is not None and p.grad.abs().max() > 0]
    assert sum(name.endswith("raw") for name in learned) == 4
    eject(host)
    assert torch.equal(host(ids, attention_mask=mask).last_hidden_state, before)
