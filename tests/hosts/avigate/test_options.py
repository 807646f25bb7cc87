"""Options of the gated fusion block: query gate, decay, text gates, dual path, temperature, pooling, alignment."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_avigate import HEADS, WIDTH, tiny_avigate, tiny_batch
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.hosts.avigate import FusionOptions
from gatefuse_plugins.hosts.avigate.blocks import GatedFusionBlock
from gatefuse_plugins.hosts.avigate.rules import avigate_faults

PRESENT = torch.ones(3, dtype=torch.bool)


def block_and_streams(**options) -> tuple[GatedFusionBlock, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    block = GatedFusionBlock(WIDTH, HEADS, 0, 2, FusionOptions(**options)).eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    return block, torch.randn(3, 5, WIDTH), torch.randn(3, 4, WIDTH), torch.randn(3, 2, WIDTH)


def run(block: GatedFusionBlock, x: Tensor, audio: Tensor, text: Tensor | None) -> Tensor:
    mask = None if text is None else torch.ones(text.shape[:2], dtype=torch.bool)
    states = None if text is None else block.text_state(text, mask)
    return block(x, block.audio_state(audio, PRESENT), states, None)


def values(block: GatedFusionBlock, *inputs: Tensor | None) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    hooks = [
        tap.register_forward_hook(lambda _, __, value, name=name: seen.__setitem__(name, value))
        for name, tap in gate_taps(block)
    ]
    run(block, *inputs)
    for hook in hooks:
        hook.remove()
    return seen


def plain_attention(block: GatedFusionBlock, queries: Tensor, audio: Tensor) -> Tensor:
    """``nn.MultiheadAttention`` with the block's weights."""
    reference = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    reference.load_state_dict(block.cross_attn.state_dict())
    return reference(queries, audio, audio, need_weights=False)[0]


def finish(block: GatedFusionBlock, x: Tensor, read: Tensor, attention: Tensor, ffn: Tensor) -> Tensor:
    """The block's formula behind the cross-attention."""
    x = x + read * attention
    x = x + block.cross_ff(block.ln_4(x)) * ffn
    x = x + block.attn(block.ln_1(x))
    return x + block.mlp(block.ln_2(x))


def test_the_fused_query_is_a_mixture_that_only_the_attention_sees() -> None:
    block, x, audio, text = block_and_streams(query_gate="scalar")
    seen = values(block, x, audio, text)
    evidence = torch.cat([x.mean(1), audio.mean(1), text.mean(1)], dim=-1)
    hidden = F.linear(evidence, block.query_gate.qg_fc.weight)
    weight = F.linear(hidden * torch.sigmoid(1.702 * hidden), block.query_gate.qg_proj.weight).sigmoid()
    torch.testing.assert_close(seen["query_gate.tap"].flatten(1), weight)
    query = block.ln_3(weight[..., None] * x + (1 - weight[..., None]) * text.mean(1, keepdim=True))
    read = plain_attention(block, query, audio)
    expected = finish(block, x, read, seen["attn_gate.tap"], seen["ff_gate.tap"])
    torch.testing.assert_close(run(block, x, audio, text), expected)


def test_headwise_query_gate_gives_each_head_its_own_mixture() -> None:
    block, x, audio, text = block_and_streams(query_gate="headwise")
    seen = values(block, x, audio, text)
    weights = seen["query_gate.tap"]
    assert weights.shape == (3, HEADS, 1, 1) and (weights[:, 0] - weights[:, 1]).abs().max() > 1e-3
    cross, width = block.cross_attn, WIDTH // HEADS
    keys, kept = cross.keys_values(audio)
    heads = []
    for head in range(HEADS):
        weight = weights[:, head]
        query = block.ln_3(weight * x + (1 - weight) * text.mean(1, keepdim=True))
        rows = slice(head * width, (head + 1) * width)
        query = F.linear(query, cross.in_proj_weight[rows], cross.in_proj_bias[rows])
        heads.append((query @ keys[:, head].transpose(1, 2) / math.sqrt(width)).softmax(-1) @ kept[:, head])
    expected = finish(block, x, cross.out_proj(torch.cat(heads, -1)), seen["attn_gate.tap"], seen["ff_gate.tap"])
    torch.testing.assert_close(run(block, x, audio, text), expected)


@pytest.mark.parametrize("query_gate", ["scalar", "headwise"])
def test_dual_path_mixes_what_both_queries_read(query_gate: str) -> None:
    block, x, audio, text = block_and_streams(query_gate=query_gate, dual_path=True)
    seen = values(block, x, audio, text)
    weight = seen["query_gate.tap"].flatten(1)
    per_feature = weight.repeat_interleave(WIDTH // weight.shape[1], dim=1)[:, None]
    keys, kept = block.cross_attn.keys_values(audio)
    by_video, by_text = (
        block.cross_attn.read(block.cross_attn.queries(block.ln_3(query)), keys, kept).transpose(1, 2).flatten(2)
        for query in (x, text.mean(1, keepdim=True))
    )
    read = block.cross_attn.out_proj(per_feature * by_video + (1 - per_feature) * by_text)
    expected = finish(block, x, read, seen["attn_gate.tap"], seen["ff_gate.tap"])
    torch.testing.assert_close(run(block, x, audio, text), expected)
    assert (by_video - by_text).abs().max() > 0.1


def test_without_text_a_query_gate_is_at_its_neutral_value() -> None:
    for options in ({"query_gate": "scalar"}, {"query_gate": "headwise"}, {"query_gate": "scalar", "dual_path": True}):
        block, x, audio, text = block_and_streams(**options)
        free = run(block, x, audio, None)
        block.query_gate.tap.register_forward_hook(lambda tap, _, value: torch.full_like(value, tap.neutral))
        torch.testing.assert_close(run(block, x, audio, text), free)


def test_text_gates_see_the_text_and_start_without_it() -> None:
    block, x, audio, text = block_and_streams(text_gates=True)
    with_text, without = values(block, x, audio, text), values(block, x, audio, None)
    for name in ("attn_gate.tap", "ff_gate.tap"):
        assert (with_text[name] - without[name]).abs().max() > 1e-3
    plain, texted = tiny_avigate(spread=0), tiny_avigate(spread=0, text_gates=True)
    report = texted.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.endswith("_text.weight") for name in report.missing_keys) and len(report.missing_keys) == 4
    with torch.no_grad():
        batch = tiny_batch(tokens=2)
        torch.testing.assert_close(texted(**batch), plain(**batch))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_pools_work_in_half_precision(dtype: torch.dtype) -> None:
    model, batch = tiny_avigate(gate_pooling="attention", query_gate="scalar"), tiny_batch(tokens=2)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        found = model(**batch)
    torch.testing.assert_close(found.float(), model(**batch).detach(), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gating": False, "gate_pooling": "attention"}, "gate_pooling: needs gating=True"),
        ({"query_gate": "scalar", "dual_path": "no"}, "dual_path: 'no', expected True or False"),
        ({"attention_temperature": True}, "attention_temperature: True, expected a number above 0"),
        ({"attention_temperature": math.inf}, "attention_temperature: inf, expected a number above 0"),
    ],
)
def test_options_that_do_nothing_or_are_no_values_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_avigate(**options)


def test_numbers_of_a_config_are_judged_before_anything_is_built() -> None:
    numbers = {"fusion_mix": 3.0, "lse_temperature": 0, "margin_beta": -1, "margin_bound": "x"}
    faults = avigate_faults(numbers, "model", {})
    assert [fault.split(":")[0] for fault in faults] == [f"model.{name}" for name in numbers]


def test_attention_temperature_divides_the_logits() -> None:
    block, x, audio, _ = block_and_streams(attention_temperature=3.0)
    plain, *_ = block_and_streams()
    plain.load_state_dict(block.state_dict())
    with torch.no_grad():
        heated = run(block, x, audio, None)
        assert (heated - run(plain, x, audio, None)).abs().max() > 1e-3
        # queries a third as long give the same logits
        plain.cross_attn.in_proj_weight[:WIDTH] /= 3
        plain.cross_attn.in_proj_bias[:WIDTH] /= 3
        torch.testing.assert_close(heated, run(plain, x, audio, None))


def test_text_aligns_by_its_mean_or_by_attention_of_the_frames() -> None:
    for alignment in ("mean", "attention"):
        block, x, _audio, text = block_and_streams(query_gate="scalar", text_alignment=alignment)
        mask = torch.tensor([[True, True], [True, False], [True, True]])
        aligned = block._align(x, block.text_state(text.masked_fill(~mask[..., None], 0.0), mask))
        if alignment == "mean":
            expected = torch.stack([text[0].mean(0), text[1, 0], text[2].mean(0)])[:, None]
        else:
            logits = (x @ text.transpose(1, 2) / math.sqrt(WIDTH)).masked_fill(~mask[:, None], -torch.inf)
            expected = logits.softmax(-1) @ text
        torch.testing.assert_close(aligned, expected)
    one_vector = tiny_batch(tokens=1)
    with torch.no_grad():  # with one vector a text both are the same
        a, b = (tiny_avigate(query_gate="scalar", text_alignment=name)(**one_vector) for name in ("mean", "attention"))
    torch.testing.assert_close(a, b)


def test_without_gates_both_branches_are_added_as_they_are() -> None:
    block, x, audio, _ = block_and_streams(gating=False)
    assert not list(gate_taps(block))
    expected = finish(block, x, plain_attention(block, block.ln_3(x), audio), torch.tensor(1.0), torch.tensor(1.0))
    torch.testing.assert_close(run(block, x, audio, None), expected)
