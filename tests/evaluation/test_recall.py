from __future__ import annotations

import numpy as np
import pytest

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation import recall
from gatefuse_plugins.evaluation.composed import cirr_metrics, cirr_ranks, fashioniq_metrics, recall_means


def test_ranks_leave_the_reference_out_and_count_ties_against_us(small):
    ranks, in_subset = cirr_ranks(small.similarity, small.reference, small.target, small.members)
    assert ranks.tolist() == [3, 2]
    assert in_subset.tolist() == [2, 1]


def test_cirr_metrics_of_known_ranks(small):
    metrics = cirr_metrics(small.similarity, small.reference, small.target, small.members)
    assert metrics["R@1"] == 0 and metrics["R@5"] == 100
    assert (metrics["R_s@1"], metrics["R_s@2"]) == (50, 100)
    assert metrics["mean"] == 75
    assert metrics["arithmetic_mean"] == pytest.approx(550 / 7)
    assert metrics["harmonic_mean"] == metrics["geometric_mean"] == 0  # R@1 is zero


def test_means_of_seven_recalls():
    recalls = dict(
        zip(("R@1", "R@5", "R@10", "R@50", "R_s@1", "R_s@2", "R_s@3"), (25, 50, 50, 50, 50, 50, 100), strict=True)
    )
    means = recall_means(recalls)
    assert means["harmonic_mean"] == pytest.approx(7 / (1 / 25 + 5 / 50 + 1 / 100))
    assert means["geometric_mean"] == pytest.approx(50)


def test_constant_scores_rank_last():
    ranks = recall.target_ranks(np.zeros((3, 10)), np.array([0, 4, 9]))
    assert ranks.tolist() == [10, 10, 10]


def test_ranks_do_not_depend_on_the_chunk(monkeypatch):
    generator = np.random.default_rng(3)
    similarity = generator.integers(0, 9, (37, 23)).astype(np.float32)
    target, excluded = generator.integers(0, 11, 37), generator.integers(11, 23, 37)
    whole = recall.target_ranks(similarity, target, excluded)
    monkeypatch.setattr(recall, "CHUNK_ELEMENTS", 50)
    np.testing.assert_array_equal(recall.target_ranks(similarity, target, excluded), whole)
    expected = [
        1 + sum(similarity[q, g] >= similarity[q, target[q]] for g in range(23) if g not in (target[q], excluded[q]))
        for q in range(37)
    ]
    assert whole.tolist() == expected


def test_nan_names_the_query(small):
    small.similarity[1, 6] = np.nan
    with pytest.raises(DataError, match="query 1 holds NaN"):
        cirr_ranks(small.similarity, small.reference, small.target, small.members)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target", [1, -1], r"target\[1\] is -1, expected 0\.\.7"),
        ("target", [1, 2], "target and reference are one image"),
        ("target", [1, 0], "exactly once among the subset's members"),
        ("reference", [0, 8], r"excluded\[1\] is 8"),
        ("target", [1.0, 3.0], "dtype float64, expected integers"),
        ("target", [1, 3, 4], r"shape \(3,\), expected \(2,\)"),
    ],
)
def test_faulty_indices_are_refused(small, field, value, message):
    arrays = {"reference": small.reference, "target": small.target, "members": small.members}
    with pytest.raises(DataError, match=message):
        cirr_metrics(small.similarity, **(arrays | {field: np.asarray(value)}))


def test_fashioniq_competes_within_its_category_and_averages():
    gallery_category = np.array([0] * 20 + [1] * 20)
    similarity = np.zeros((2, 40), np.float32)
    similarity[0, 20:] = 9  # another category's images score higher and must not count
    similarity[0, 3] = 1
    similarity[1, 25], similarity[1, 26:40] = 1, 2  # 14 images of its own category before it
    metrics = fashioniq_metrics(similarity, np.array([3, 25]), np.array([0, 1]), gallery_category, ("dress", "shirt"))
    assert metrics == {
        "dress_R@10": 100, "dress_R@50": 100, "shirt_R@10": 0, "shirt_R@50": 100,
        "R@10": 50, "R@50": 100, "mean": 75,
    }  # fmt: skip
    with pytest.raises(DataError, match="query 0 .dress. has its target among shirt"):
        fashioniq_metrics(similarity, np.array([30, 25]), np.array([0, 1]), gallery_category, ("dress", "shirt"))
