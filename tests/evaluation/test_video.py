"""Video metrics where a video has several captions, and their flat names (oracles: ``test_metric_oracles.py``)."""

from __future__ import annotations

import numpy as np
import pytest

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.recall import target_ranks
from gatefuse_plugins.evaluation.video import msrvtt_metrics, rank_metrics, video_summary, video_to_text_ranks


def test_a_video_is_found_by_its_best_caption() -> None:
    target = np.array([0, 0, 1])
    similarity = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.3]])
    assert video_to_text_ranks(similarity, target).tolist() == [1, 2]
    similarity[2, 0] = 0.8  # a tie stands before the video's own caption
    assert video_to_text_ranks(similarity, target).tolist() == [2, 2]


def test_ranks_equal_a_loop_over_videos() -> None:
    rng = np.random.default_rng(0)
    similarity = np.round(rng.standard_normal((40, 12)), 1).astype(np.float32)
    target = np.concatenate([np.arange(12), rng.integers(0, 12, 28)])
    expected = []
    for video, scores in enumerate(similarity.T):
        best = max(scores[target == video])
        expected.append(1 + sum(scores[target != video] >= best))
    assert video_to_text_ranks(similarity, target).tolist() == expected


def test_one_caption_a_video_is_the_published_metric_under_flat_names() -> None:
    similarity = np.random.default_rng(1).standard_normal((30, 30)) + 2 * np.eye(30)
    own = np.arange(30)
    found = video_summary(target_ranks(similarity, own), video_to_text_ranks(similarity, own))
    expected = msrvtt_metrics(similarity)
    for short, direction in (("t2v", "text_to_video"), ("v2t", "video_to_text")):
        for name, flat in (("R1", "R@1"), ("R5", "R@5"), ("R10", "R@10"), ("MedianR", "MedianR"), ("MeanR", "MeanR")):
            assert found.pop(f"{short}_{flat}") == expected[direction][name]
    recalls = [expected[direction][f"R{k}"] for direction in expected for k in (1, 5, 10)]
    assert found == {"mean": pytest.approx(np.mean(recalls))}
    assert rank_metrics(np.array([1, 2, 6, 11]))["R5"] == 50.0


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match=r"1 of 3 videos have no text \(first: \[1\]\)"):
        video_to_text_ranks(np.zeros((2, 3)), np.array([0, 2]))
    with pytest.raises(DataError, match=r"similarity has shape \(0, 3\)"):
        video_to_text_ranks(np.zeros((0, 3)), np.arange(0))
    with pytest.raises(DataError, match="NaN"):
        video_to_text_ranks(np.full((2, 2), np.nan), np.arange(2))
