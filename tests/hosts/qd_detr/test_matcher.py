"""The assignment against every possible one, across decoder layers, and with odd samples."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, NonFiniteLossError
from gatefuse_plugins.hosts.qd_detr.matcher import HungarianMatcher, Matching


def predictions(layers: int = 2, samples: int = 3, queries: int = 4) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(layers, samples, queries, 2), torch.rand(layers, samples, queries, 2)


def naive_cost(logits: Tensor, span: Tensor, window: Tensor) -> float:
    (c, w), (tc, tw) = span.tolist(), window.tolist()
    start, end, first, last = c - w / 2, c + w / 2, tc - tw / 2, tc + tw / 2
    shared = max(0.0, min(end, last) - max(start, first))
    union, hull = w + tw - shared, max(end, last) - min(start, first)
    giou = shared / union - (hull - union) / hull
    return 10 * (abs(c - tc) + abs(w - tw)) - giou - 4 * float(logits.softmax(-1)[0])


def of(matching: Matching, layer: int, sample: int) -> list[tuple[int, int]]:
    chosen = (matching.layer == layer) & (matching.sample == sample)
    return list(zip(matching.query[chosen].tolist(), matching.window[chosen].tolist(), strict=True))


def test_assignment_is_the_cheapest_of_all() -> None:
    logits, spans = predictions()
    windows = [torch.rand(2, 2), torch.rand(3, 2), torch.rand(1, 2)]
    matching = HungarianMatcher()(logits, spans, windows)
    for layer in range(2):
        for sample, own in enumerate(windows):

            def total(queries: tuple[int, ...], layer: int = layer, sample: int = sample, own: Tensor = own) -> float:
                costs = (naive_cost(logits[layer, sample, q], spans[layer, sample, q], w) for q, w in zip(queries, own))  # noqa: B905
                return sum(costs)

            best = min(permutations(range(4), len(own)), key=total)
            assert of(matching, layer, sample) == sorted((query, window) for window, query in enumerate(best))


def test_a_sample_without_windows_matches_nothing() -> None:
    logits, spans = predictions()
    matching = HungarianMatcher()(logits, spans, [torch.rand(2, 2), torch.zeros(0, 2), torch.rand(1, 2)])
    assert of(matching, 0, 1) == [] and len(of(matching, 1, 0)) == 2
    none = HungarianMatcher()(logits, spans, [torch.zeros(0, 2)] * 3)
    assert [len(column) for column in none] == [0, 0, 0, 0]


def test_more_windows_than_queries_leave_windows_over() -> None:
    logits, spans = predictions(queries=2)
    matching = HungarianMatcher()(logits, spans, [torch.rand(5, 2)] * 3)
    assert all([q for q, _ in of(matching, layer, sample)] == [0, 1] for layer in range(2) for sample in range(3))


@pytest.mark.parametrize("place", ["logits", "spans", "window", "negative width"])
def test_a_cost_that_is_not_finite_names_the_sample(place: str) -> None:
    logits, spans = predictions()
    windows = [torch.rand(2, 2) for _ in range(3)]
    if place == "logits":
        logits[1, 2, 0, 1] = float("nan")
    elif place == "spans":
        spans[0, 2, 3, 1] = float("inf")
    else:
        windows[2][0, 1] = float("nan") if place == "window" else -0.1
    with pytest.raises(NonFiniteLossError, match=r"2 of the batch \(annotation row 42\) \(1 in all\)"):
        HungarianMatcher()(logits, spans, windows, torch.tensor([40, 41, 42]))
    with pytest.raises(NonFiniteLossError, match=r"sample 2 of the batch \(1 in all\)"):
        HungarianMatcher()(logits, spans, windows)


def test_weights_that_are_all_0_are_refused() -> None:
    with pytest.raises(ConfigError, match="set_cost_span, set_cost_giou and set_cost_class are all 0"):
        HungarianMatcher(0, 0, 0)
