"""Gated mmcv modules: mmcv's own until a gate moves, then the branch alone changes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("mmcv", reason="mmcv or mmcv-lite is not installed")

from mmcv.cnn.bricks.transformer import FFN, BaseTransformerLayer, MultiheadAttention
from mmengine.registry import MODELS as MM_MODELS

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates import gate_taps, named_gate_parameters
from gatefuse_plugins.mm import GatedFFN, GatedMultiheadAttention

D, HEADS = 8, 2
POST = ("self_attn", "norm", "cross_attn", "norm", "ffn", "norm")
PRE = ("norm", "self_attn", "norm", "cross_attn", "norm", "ffn")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same_weights(gated: nn.Module, plain: nn.Module) -> None:
    """Load mmcv's weights; all that is left over has to be the gates'."""
    missing, unexpected = gated.load_state_dict(plain.state_dict(), strict=False)
    assert missing and not unexpected
    assert set(missing) == {name for name, _ in named_gate_parameters(gated)}


def layer(gated: bool, order: tuple[str, ...] = POST, batch_first: bool = True, **gate: Any) -> BaseTransformerLayer:
    """mmcv's layer with its own modules, or with gated ones."""
    torch.manual_seed(0)
    prefix, told = ("gatefuse.Gated", {"batch_first": batch_first}) if gated else ("", {})
    config = {
        "type": "BaseTransformerLayer",
        "batch_first": batch_first,
        "operation_order": order,
        "attn_cfgs": {"type": f"{prefix}MultiheadAttention", "embed_dims": D, "num_heads": HEADS, "attn_drop": 0.1},
        "ffn_cfgs": {"type": f"{prefix}FFN", "feedforward_channels": 16, "ffn_drop": 0.1, **told},
    }
    for key in ("attn_cfgs", "ffn_cfgs"):
        config[key] |= gate
    return MM_MODELS.build(config)


def inputs(batch_first: bool = True) -> dict[str, Tensor]:
    query, key, position = draw(2, 5, D), draw(2, 3, D, seed=1), draw(2, 5, D, seed=2)
    streams = {"query": query, "key": key, "value": key, "query_pos": position, "key_pos": draw(2, 3, D, seed=3)}
    masks = {
        "query_key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2]),
        "key_padding_mask": torch.tensor([[False] * 3, [False] * 2 + [True]]),
    }
    return {name: x if batch_first else x.transpose(0, 1) for name, x in streams.items()} | masks


@pytest.mark.parametrize("granularity", ["scalar", "global", "clipwise", "elementwise"])
@pytest.mark.parametrize("order", [POST, PRE], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_layer_of_gated_modules_is_mmcvs_layer_at_the_start(
    granularity: str, order: tuple[str, ...], batch_first: bool
) -> None:
    plain = layer(False, order, batch_first=batch_first)
    gated = layer(True, order, batch_first=batch_first, granularity=granularity)
    same_weights(gated, plain)
    for training in (False, True):
        results = []
        for model in (plain, gated):
            torch.manual_seed(5)
            results.append(model.train(training)(**inputs(batch_first)))
        assert torch.equal(*results)
    assert [(tap.kind, tap.neutral) for _, tap in gate_taps(gated)] == [("attention", 1.0)] * 2 + [("ffn", 1.0)]


def test_every_gate_gets_a_gradient_at_once() -> None:
    gated = layer(True, granularity="elementwise")
    gated(**inputs()).square().sum().backward()
    last = {name: p for name, p in named_gate_parameters(gated) if ".head.2." in name}
    assert len(last) == 6
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in last.values())


def test_a_closed_gate_leaves_the_identity() -> None:
    attention, ffn = GatedMultiheadAttention(D, HEADS, batch_first=True), GatedFFN(D)
    for module in (attention, ffn):
        module.gate.raw.data.fill_(-20.0)  # 1 + tanh(-20) = 0
    query, key, other = draw(2, 5, D), draw(2, 3, D, seed=1), draw(2, 5, D, seed=2)
    assert torch.equal(attention(query, key), query)
    assert torch.equal(attention(query, key, key, other), other)
    assert torch.equal(ffn(query), query)
    assert torch.equal(ffn(query, other), other)
    bare = GatedFFN(D, add_identity=False)
    bare.gate.raw.data.fill_(-20.0)
    assert torch.equal(bare(query), torch.zeros_like(query))


def test_a_gate_scales_what_mmcv_adds() -> None:
    torch.manual_seed(0)
    plain = (MultiheadAttention(D, HEADS, batch_first=True), FFN(D, layer_scale_init_value=0.5))
    gated = (
        GatedMultiheadAttention(D, HEADS, batch_first=True),
        GatedFFN(D, layer_scale_init_value=0.5),
    )
    x = draw(2, 5, D)
    for mine, theirs in zip(gated, plain, strict=True):
        same_weights(mine, theirs)
        mine.gate.raw.data.fill_(0.5)
        factor = 1 + torch.tanh(torch.tensor(0.5))
        torch.testing.assert_close(mine(x), x + factor * (theirs(x) - x))


@pytest.mark.parametrize("granularity", ["global", "clipwise", "elementwise"])
def test_the_order_of_dimensions_changes_nothing(granularity: str) -> None:
    results = []
    for batch_first in (True, False):
        model = layer(True, granularity=granularity, batch_first=batch_first).eval()
        torch.manual_seed(2)
        for _name, parameter in named_gate_parameters(model):
            nn.init.normal_(parameter)
        made = model(**inputs(batch_first))
        results.append(made if batch_first else made.transpose(0, 1))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_a_global_gate_leaves_padding_out_where_it_is_told(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    module = GatedMultiheadAttention(D, HEADS, batch_first=True, granularity="global")
    nn.init.normal_(module.gate.head[2].weight)
    padding = inputs()["query_key_padding_mask"]
    given = padding if kind == torch.bool else torch.zeros(2, 5).masked_fill(padding, -torch.inf)
    x, seen = draw(2, 5, D), []
    module.gate.tap.register_forward_hook(lambda _module, _args, value: seen.append(value.detach()))
    for value in (x, x.masked_fill(padding[..., None], 7.0)):
        module(value, key_padding_mask=given)
    assert torch.equal(seen[0], seen[1])
    module(x, draw(2, 5, D, seed=1), key_padding_mask=padding)  # the keys' mask says nothing about these queries
    assert not torch.equal(seen[2], seen[0])


def test_initialisation_around_a_gate_leaves_it_neutral() -> None:
    plain = layer(False)
    gated = layer(True, granularity="clipwise")
    for model in (plain, gated):
        model.init_cfg = {"type": "Xavier", "layer": "Linear", "bias": 1.0}
        model.init_weights()
    ends = [p for name, p in named_gate_parameters(gated) if ".head.2." in name]
    assert len(ends) == 6 and not any(p.any() for p in ends)
    assert gated.ffns[0].layers[0][0].bias.eq(1.0).all()  # mmcv's own layers were initialised
    same_weights(gated, plain)
    assert torch.equal(gated.eval()(**inputs()), plain.eval()(**inputs()))


def test_copies_pickles_autocast_and_old_argument_names() -> None:
    module = GatedMultiheadAttention(D, HEADS, batch_first=True)
    module.gate.raw.data.fill_(0.3)
    x = draw(2, 5, D)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x), module(x))
    with pytest.warns(DeprecationWarning, match="residual"):
        assert torch.equal(module(x, residual=x + 1), module(x, identity=x + 1))
    plain = MultiheadAttention(D, HEADS, batch_first=True)
    gated = GatedMultiheadAttention(D, HEADS, batch_first=True)
    same_weights(gated, plain)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gated(x), plain(x))
        assert gated(x).dtype == plain(x).dtype


def test_a_gate_adds_no_graph_break() -> None:
    x = draw(2, 5, D)
    for plain, gated in (
        (FFN(D), GatedFFN(D, granularity="clipwise", batch_first=True)),
        (
            MultiheadAttention(D, HEADS, batch_first=True),
            GatedMultiheadAttention(D, HEADS, batch_first=True, granularity="global"),
        ),
    ):
        counts = []
        for module in (plain, gated):
            torch._dynamo.reset()
            counts.append(torch._dynamo.explain(module.eval())(x).graph_break_count)
        assert counts[1] == counts[0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="'clipwis' is unknown; did you mean 'clipwise'"):
        GatedMultiheadAttention(D, HEADS, granularity="clipwis")
    with pytest.raises(ConfigError, match="GatedFFN granularity 'global' needs batch_first, which is None"):
        GatedFFN(D, granularity="global")
