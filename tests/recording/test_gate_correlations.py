"""Correlations of query gates with the other gates, gathered while pairs are scored."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_avigate import tiny_avigate, tiny_batch
from torch import nn

from gatefuse_plugins.gates import GateTap, gate_taps
from gatefuse_plugins.hosts.avigate import score_all_pairs, two_stage_scores
from gatefuse_plugins.recording.gate_correlations import GateCorrelationHook, RunningCorrelation


def test_batches_give_the_correlation_of_the_whole() -> None:
    first = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 1e-4 + 0.5
    second = first * 2 + torch.linspace(0, 1e-4, 50)
    found = RunningCorrelation()
    for rows in (slice(0, 1), slice(1, 20), slice(20, 20), slice(20, 50)):
        found.update(first[rows], second[rows])
    assert found.count == 50
    assert found.value == pytest.approx(np.corrcoef(first.double(), second.double())[0, 1], rel=1e-9)
    assert math.isnan(RunningCorrelation().value)
    constant = RunningCorrelation()
    constant.update(torch.ones(3), torch.arange(3))
    assert math.isnan(constant.value)


def test_rounding_of_a_saturated_gate_is_no_variation() -> None:
    noise = torch.where(torch.arange(50) % 3 == 0, -(2.0**-24), 0.0)
    saturated, moving = torch.ones(50) + noise, torch.linspace(0, 1, 50)
    assert saturated.unique().numel() == 2
    for pair in ((saturated, moving), (moving, saturated)):
        found = RunningCorrelation()
        found.update(*pair)
        assert math.isnan(found.value)
    small = RunningCorrelation()  # values that are small, and really vary
    small.update(moving * 1e-12, moving)
    assert small.value == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{"query_gate": "scalar", "layer_decay": "fixed"}, {"query_gate": "headwise"}])
@pytest.mark.parametrize("two_stages", [False, True])
def test_every_scored_pair_with_audio_counts_once(options: dict[str, Any], two_stages: bool) -> None:
    model, batch = tiny_avigate(**options).eval(), tiny_batch()
    runner: Any = SimpleNamespace(model=model)
    hook, metrics, values = GateCorrelationHook(), {"msrvtt/mean": 1.0}, {}
    with torch.no_grad():
        videos = model.encode_videos(*(batch[name] for name in ("video", "video_mask", "audio", "audio_mask")))
        texts = model.encode_texts(batch["text"])
        if two_stages:  # its text-free pass shows the partners' values without a query gate's
            two_stage_scores(model, texts, videos, k=4)
        handles = [
            tap.register_forward_hook(lambda _, __, value, name=name: values.__setitem__(name, value.flatten(1)))
            for name, tap in gate_taps(model)
        ]
        score_all_pairs(model, texts, videos)
        for handle in handles:
            handle.remove()
        hook.before_test_epoch(runner)
        if two_stages:
            two_stage_scores(model, texts, videos, k=4)
        else:
            score_all_pairs(model, texts, videos, max_bytes=1)
        hook.after_test_epoch(runner, metrics)
    heard = torch.tensor([video != 2 for video in range(4) for _ in range(4)])  # video 2 has no audio
    for layer in (0, 1):
        gates = {
            kind: values[f"transformerClip.resblocks.{layer}.{name}.tap"].mean(dim=1)[heard]
            for kind, name in (("query", "query_gate"), ("attention", "attn_gate"), ("ffn", "ff_gate"))
        }
        for kind in ("attention", "ffn"):
            expected = np.corrcoef(gates["query"].double(), gates[kind].double())[0, 1]
            assert metrics.pop(f"gate_correlation/query_{kind}_{layer}") == pytest.approx(expected, abs=1e-4)
    assert metrics == {"msrvtt/mean": 1.0}
    assert not any(tap._forward_hooks for _, tap in gate_taps(model))


def test_a_model_without_query_gate_adds_nothing() -> None:
    model, metrics = tiny_avigate().eval(), {}
    runner: Any = SimpleNamespace(model=model)
    hook = GateCorrelationHook()
    hook.before_val_epoch(runner)
    model(**tiny_batch())
    hook.after_val_epoch(runner, metrics)
    assert metrics == {}


@pytest.mark.parametrize("by_name", [False, True])
def test_masked_samples_do_not_count_however_the_mask_is_passed(by_name: bool) -> None:
    model = nn.ModuleDict({kind: GateTap(kind, 0.0, 1.0, layer=0) for kind in ("ffn", "query")})
    mask, metrics = torch.tensor([[True], [True], [True], [False]]), {}
    runner: Any = SimpleNamespace(model=model)
    hook = GateCorrelationHook()
    hook.before_val_epoch(runner)
    model["ffn"](torch.tensor([[0.1], [0.2], [0.3], [0.9]]))
    query = torch.tensor([[0.6], [0.5], [0.4], [0.9]])
    model["query"](query, mask=mask) if by_name else model["query"](query, mask)
    hook.after_val_epoch(runner, metrics)
    assert metrics == {"gate_correlation/query_ffn_0": pytest.approx(-1.0)}
