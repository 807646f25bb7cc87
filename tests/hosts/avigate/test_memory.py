"""Text-conditioned scoring keeps its temporaries within the bound that it is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gatefuse_plugins.hosts.avigate import build_avigate, score_all_pairs


def peak_bytes(step: Callable[[], None]) -> int:
    """Most bytes that ``step`` holds at once beyond those alive before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    held = peak = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


@pytest.mark.parametrize(
    ("learning", "options"),
    [
        (False, {"query_gate": "scalar"}),
        (False, {"query_gate": "headwise", "num_heads": 8, "width": 128}),
        (False, {"query_gate": "scalar", "text_alignment": "attention", "layer_decay": "learnable"}),
        (True, {"query_gate": "headwise", "text_gates": True, "gate_pooling": "attention"}),
    ],
    ids=str,
)
def test_temporaries_stay_within_the_bound(learning: bool, options: dict) -> None:
    torch.manual_seed(0)
    sizes = {"width": 64, "num_heads": 2, "resampler_layers": 1, "fusion_layers": 2, "num_query_tokens": 12}
    model = build_avigate(**{**sizes, **options})
    width = model.query_tokens.shape[0]
    with torch.no_grad():
        videos = model.encode_videos(
            torch.randn(12, 12, width), torch.ones(12, 12, dtype=torch.bool), torch.randn(12, 9, width)
        )
        texts = model.encode_texts(torch.randn(12, 4, width))
    bound = 4 << 20

    def step() -> None:
        with torch.set_grad_enabled(learning):
            scores = score_all_pairs(model, texts, videos, bound)
            if learning:
                scores.sum().backward()
                model.zero_grad()

    gradients = sum(p.numel() * p.element_size() for p in model.parameters()) if learning else 0
    peak = peak_bytes(step)
    assert bound / 3 < peak < bound + gradients  # nor so careful that chunks are needlessly small
