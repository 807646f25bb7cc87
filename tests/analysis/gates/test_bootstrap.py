"""Intervals of paired differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from gatefuse_plugins.analysis.gates.bootstrap import bootstrap_means
from gatefuse_plugins.errors import DataError


def normal(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 2.0, (size, 1))


def test_the_interval_is_that_of_scipy() -> None:
    values = normal(200)
    found = bootstrap_means(values)[0]
    expected = bootstrap(
        (values[:, 0],), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.03)
    assert (found.samples, found.groups) == (200, 200)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    held = sum(
        (found := bootstrap_means(normal(60, seed), resamples=400)[0]).low <= 1.0 <= found.high for seed in range(200)
    )
    assert 180 <= held <= 199  # 95 % of 200 is 190, with a standard deviation of 3


def test_copies_of_a_sample_add_nothing_when_they_are_one_group() -> None:
    values = normal(40)
    alone = bootstrap_means(values)[0]
    copied = np.repeat(values, 5, axis=0)
    grouped = bootstrap_means(copied, groups=np.repeat(np.arange(40), 5).tolist())[0]
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    assert (grouped.samples, grouped.groups) == (200, 40)
    independent = bootstrap_means(copied)[0]
    assert independent.high - independent.low < 0.6 * (alone.high - alone.low)


def test_missing_values_are_left_out_column_by_column() -> None:
    values = np.hstack([normal(50), normal(50, 1), np.full((50, 1), np.nan)])
    values[::2, 1] = np.nan
    whole, half, none = bootstrap_means(values)
    assert (whole.mean, whole.samples) == (pytest.approx(values[:, 0].mean()), 50)
    assert (half.mean, half.samples) == (pytest.approx(values[1::2, 1].mean()), 25)
    assert half.low < half.mean < half.high
    assert none.samples == 0
    assert np.isnan([none.mean, none.low, none.high]).all()


def test_a_seed_repeats_itself_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = normal(30)
    found = bootstrap_means(values, seed=3)
    assert found == bootstrap_means(values, seed=3)
    assert found != bootstrap_means(values, seed=4)
    monkeypatch.setattr("gatefuse_plugins.analysis.gates.bootstrap._CHUNK", 100)
    in_chunks = bootstrap_means(values, seed=3)[0]
    assert (in_chunks.low, in_chunks.high) == pytest.approx((found[0].low, found[0].high), rel=1e-12)


def test_no_sample_one_sample_and_equal_samples() -> None:
    assert np.isnan(bootstrap_means(np.zeros((0, 1)))[0].mean)
    one = bootstrap_means(np.array([[2.0]]))[0]
    assert one.mean == 2.0
    assert np.isnan([one.low, one.high]).all()
    assert not one.excludes_zero
    equal = bootstrap_means(np.full((5, 1), 3.0))[0]
    assert (equal.low, equal.mean, equal.high) == (3.0, 3.0, 3.0)
    assert equal.excludes_zero


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(DataError, match=r"values \(4,\), groups none, 2000 resamples"):
        bootstrap_means(np.zeros(4))
    with pytest.raises(DataError, match=r"values \(4, 1\), groups 3"):
        bootstrap_means(np.zeros((4, 1)), groups=[1, 2, 3])
    with pytest.raises(DataError, match="0 resamples"):
        bootstrap_means(np.zeros((4, 1)), resamples=0)
