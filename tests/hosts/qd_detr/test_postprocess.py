"""Post-processing by hand, and against upstream's own functions where ``GATEFUSE_QD_DETR`` is a checkout of it."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, GatefuseError
from gatefuse_plugins.hosts.qd_detr.nms import temporal_nms
from gatefuse_plugins.hosts.qd_detr.postprocess import (
    PostProcessor,
    build_postprocessor,
    saliency_curves,
)


def sample(*windows: tuple[float, float, float], duration: float) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of one from (start s, end s, score)."""
    start, end, score = torch.tensor(windows).unbind(-1)
    logits = torch.stack([score.logit(), torch.zeros_like(score)], dim=-1)
    return (
        logits[None],
        torch.stack([(start + end) / 2, end - start], dim=-1)[None] / duration,
        torch.tensor([duration]),
    )


def test_sorted_clipped_to_the_duration_and_rounded_to_clips() -> None:
    batch = sample((-3.0, 4.9, 0.25), (11.2, 40.0, 0.75), (7.1, 10.8, 0.5), duration=30.0)
    (windows,) = PostProcessor()(*batch)
    np.testing.assert_array_equal(windows, [[12, 30, 0.75], [8, 10, 0.5], [0, 4, 0.25]])
    (unsorted,) = PostProcessor(sort=False, clip_length=5.0)(*batch)
    np.testing.assert_array_equal(unsorted, [[0, 5, 0.25], [10, 30, 0.75], [5, 10, 0.5]])
    (longer,) = PostProcessor(max_time=36.0)(*batch)
    assert longer[0].tolist() == [12, 36, 0.75]


def test_equal_scores_keep_the_order_of_the_queries() -> None:
    (windows,) = PostProcessor()(*sample((2, 4, 0.5), (6, 8, 0.9), (0, 2, 0.5), (8, 10, 0.5), duration=20.0))
    assert windows[:, 0].tolist() == [6, 2, 0, 8]


def test_windows_shorter_than_a_clip_or_reversed() -> None:
    (windows,) = PostProcessor()(*sample((9.1, 10.9, 0.5), (16.0, 12.0, 0.4), duration=20.0))
    np.testing.assert_array_equal(windows[:, :2], [[10, 10], [12, 16]])


@pytest.mark.parametrize(
    ("anchor", "expected"), [("left", [[8, 12], [2, 8]]), ("center", [[6, 10], [4, 10]]), ("right", [[6, 10], [6, 12]])]
)
def test_lengths_are_limited_from_an_anchor(anchor: str, expected: list[list[int]]) -> None:
    process = PostProcessor(min_w_l=4.0, max_w_l=6.0, move_window_method=anchor)
    (windows,) = process(*sample((8.0, 9.9, 0.9), (2.0, 12.0, 0.5), duration=20.0))
    np.testing.assert_array_equal(windows[:, :2], expected)


def test_threshold_may_leave_a_sample_without_windows() -> None:
    logits, spans, duration = (torch.cat([part, part]) for part in sample((0, 4, 0.6), (4, 8, 0.3), duration=10.0))
    logits[1] -= torch.tensor([5.0, 0.0])
    first, second = PostProcessor(conf_thd=0.5)(logits, spans, duration)
    assert first.tolist() == [[0, 4, 0.6]] and second.shape == (0, 3)


def test_suppression_is_greedy_and_limited_before_and_after() -> None:
    # 1 falls to 0; 2 overlaps 1 by more than half but not 0, and stays; 3 is apart
    batch = sample((0, 10, 0.9), (4, 14, 0.8), (8, 18, 0.7), (20, 22, 0.6), duration=30.0)
    assert PostProcessor(nms_thd=0.4)(*batch)[0][:, 0].tolist() == [0, 8, 20]
    assert PostProcessor(nms_thd=0.4, max_after_nms=2)(*batch)[0][:, 0].tolist() == [0, 8]
    assert PostProcessor(nms_thd=0.4, max_before_nms=2)(*batch)[0][:, 0].tolist() == [0]
    assert PostProcessor(nms_thd=0.0)(*batch)[0][:, 0].tolist() == [0, 20]
    assert PostProcessor(nms_thd=1.0)(*batch)[0][:, 0].tolist() == [0, 4, 8, 20]
    assert PostProcessor(nms_thd=0.4, conf_thd=0.85)(*batch)[0][:, 0].tolist() == [0]


def test_a_window_that_is_not_valid_suppresses_nothing() -> None:
    windows = np.array([[[0, 10], [1, 10], [1, 9]]] * 2, dtype=float)
    keep = temporal_nms(windows, 0.5, np.array([[True, True, True], [False, True, True]]))
    assert keep.tolist() == [[True, False, False], [False, True, False]]
    assert temporal_nms(np.zeros((2, 2)), 0.5).tolist() == [True, True]  # zero lengths overlap by 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_any_precision_gives_finite_multiples_of_a_clip(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    found = PostProcessor()(
        torch.randn(3, 5, 2, dtype=dtype), torch.rand(3, 5, 2).to(dtype), torch.tensor([9.0, 1, 150])
    )
    assert [windows.dtype for windows in found] == [np.float64] * 3
    assert all(np.isfinite(windows).all() and (windows[:, :2] % 2 == 0).all() for windows in found)


def test_bad_predictions_and_options_are_named() -> None:
    logits, spans = torch.randn(3, 4, 2), torch.rand(3, 4, 2)
    spans[1, 2] = float("nan")
    with pytest.raises(GatefuseError, match=r"predictions of sample 1 of the batch \(1 in all\)"):
        PostProcessor()(logits, spans, torch.full((3,), 150.0))
    with pytest.raises(ConfigError, match="clip_length=0; expected seconds above 0; .*did you mean 'center'"):
        PostProcessor(clip_length=0, move_window_method="centre")
    with pytest.raises(ConfigError, match="'nms_threshold' is no option; did you mean 'nms_thd'"):
        build_postprocessor({"nms_threshold": 0.5, "sort": False})
    assert build_postprocessor({"nms_thd": 0.5}) == PostProcessor(nms_thd=0.5)
    assert build_postprocessor(None) == PostProcessor()
    with pytest.raises(ConfigError, match="min_w_l=9; expected seconds from 0 to max_w_l"):
        PostProcessor(min_w_l=9, max_w_l=3)


def test_saliency_curves_hold_the_clips_that_exist() -> None:
    scores, mask = (
        torch.tensor([[1.0001, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        torch.tensor([[True, True, True], [True, False, False]]),
    )
    curves = saliency_curves(scores, mask)
    assert [curve.tolist() for curve in curves] == [[np.float32(1.0001), 2.0, 3.0], [4.0]]


def upstream_module(monkeypatch: pytest.MonkeyPatch, path: str) -> types.ModuleType:
    """A module of the checkout by its file, with what it imports for other purposes left empty."""
    root = os.environ.get("GATEFUSE_QD_DETR")
    if not root or not (Path(root) / path).is_file():
        pytest.skip(f"GATEFUSE_QD_DETR is {root!r}; expected a checkout of QD-DETR that has {path}")
    for name, members in {
        "utils": (),
        "utils.basic_utils": ("load_jsonl",),
        "standalone_eval": (),
        "standalone_eval.eval": ("eval_submission",),
        "tqdm": (),
    }.items():
        stub = types.ModuleType(name)
        for member in members:
            setattr(stub, member, None)
        monkeypatch.setitem(sys.modules, name, stub)
    sys.modules["tqdm"].tqdm = lambda lines, **_: lines
    spec = importlib.util.spec_from_file_location("upstream_" + Path(path).stem, Path(root) / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def upstream_lines(logits: Tensor, spans: Tensor, duration: Tensor, sort: bool) -> list[dict[str, list[list[float]]]]:
    """What its evaluation hands to its post-processor."""
    lines = []
    for scores, own, seconds in zip(logits.softmax(-1)[..., 0], spans, duration.tolist(), strict=True):
        center, width = own.unbind(-1)
        ends = torch.stack([center - 0.5 * width, center + 0.5 * width], dim=-1) * seconds
        rows = torch.cat([ends, scores[:, None]], dim=1).tolist()
        rows = sorted(rows, key=lambda row: row[2], reverse=True) if sort else rows
        lines.append({"pred_relevant_windows": [[float(f"{value:.4f}") for value in row] for row in rows]})
    return lines


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("lengths", [None, "left", "center", "right"])
def test_equals_upstreams_post_processor(monkeypatch: pytest.MonkeyPatch, sort: bool, lengths: str | None) -> None:
    module = upstream_module(monkeypatch, "qd_detr/postprocessing_qd_detr.py")
    torch.manual_seed(1)
    logits, spans, duration = torch.randn(300, 10, 2), torch.rand(300, 10, 2), torch.randint(1, 151, (300,)).float()
    names = ("clip_ts", "round_multiple") if lengths is None else ("clip_window_l", "clip_ts", "round_multiple")
    upstream = module.PostProcessorDETR(
        clip_length=2,
        min_ts_val=0,
        max_ts_val=150,
        min_w_l=2,
        max_w_l=70,
        move_window_method=lengths or "left",
        process_func_names=names,
    )
    limits = {} if lengths is None else {"min_w_l": 2.0, "max_w_l": 70.0, "move_window_method": lengths}
    found = PostProcessor(max_time=150.0, sort=sort, **limits)(logits, spans, duration)
    for windows, line in zip(found, upstream(upstream_lines(logits, spans, duration, sort)), strict=True):
        assert windows.tolist() == line["pred_relevant_windows"]


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize(("threshold", "before", "after"), [(0.0, 10, 10), (0.3, 10, 3), (0.5, 6, 10), (0.8, 10, 10)])
def test_equals_upstreams_suppression(
    monkeypatch: pytest.MonkeyPatch, sort: bool, threshold: float, before: int, after: int
) -> None:
    module = upstream_module(monkeypatch, "utils/temporal_nms.py")
    torch.manual_seed(2)
    batch = torch.randn(300, 10, 2), torch.rand(300, 10, 2), torch.full((300,), 150.0)
    plain = PostProcessor(sort=sort)(*batch)
    found = PostProcessor(sort=sort, nms_thd=threshold, max_before_nms=before, max_after_nms=after)(*batch)
    for windows, lines in zip(found, plain, strict=True):
        assert windows.tolist() == module.temporal_nms(lines.tolist()[:before], threshold, after)
