from __future__ import annotations

import math

import numpy as np
import pytest
from gate_data import ATTENTION, FFN, OPEN, ArrayGateData, random_data

from gatefuse_plugins.analysis.gates import summary as summary_module
from gatefuse_plugins.analysis.gates.data import GateInfo, Sample
from gatefuse_plugins.analysis.gates.summary import PERCENTILES, summarise
from gatefuse_plugins.analysis.gates.summary_rows import mean_over_bins


def test_every_figure_equals_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "_FIRST_BLOCK", 5)  # 12 samples come in several blocks
    data = random_data()
    found = summarise(data)
    assert found.granularity == ("elementwise", "clipwise", "global")
    for at, gate in enumerate(data.gates):
        each = [data.values(sample.id, gate).astype(np.float64) for sample in data.samples]
        pooled = np.concatenate([values.reshape(-1) for values in each])
        for figure, function in (("mean", np.mean), ("std", np.std), ("minimum", np.min), ("maximum", np.max)):
            assert getattr(found, figure)[:, at] == pytest.approx([function(values) for values in each], abs=1e-6)
            assert getattr(found, f"total_{figure}")[at] == pytest.approx(function(pooled), abs=1e-6), figure
        assert found.count[:, at].tolist() == [values.size for values in each]
        assert found.positions[:, at].tolist() == [len(values) for values in each]
        along = [values.mean(axis=1).std() for values in each]
        assert found.time_std[:, at] == pytest.approx(along, abs=1e-6)
        assert found.percentiles[at] == pytest.approx(np.percentile(pooled, PERCENTILES), rel=2**-10, abs=1e-6)
        assert found.histogram[at].sum() == pytest.approx(1)
    halves = np.concatenate([data.values(sample.id, ATTENTION.name).reshape(-1) for sample in data.samples])
    assert found.percentiles[0] == pytest.approx(np.percentile(halves.astype(float), PERCENTILES), abs=1e-12)
    shares = np.histogram(halves.astype(float), 64, (0, 1))[0] / halves.size
    assert found.histogram[0] == pytest.approx(shares)
    assert found.entropy[0] == pytest.approx(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def test_values_that_are_no_numbers_are_counted_and_left_out() -> None:
    values = np.array([[0.25, np.nan], [np.inf, 0.75], [np.nan, np.nan]], np.float16)
    whole = np.full((2, 2), 0.5, np.float16)
    found = summarise(ArrayGateData([ATTENTION], [{ATTENTION.name: values}, {ATTENTION.name: whole}]))
    assert found.count[:, 0].tolist() == [2, 4] and found.non_finite[:, 0].tolist() == [4, 0]
    assert found.mean[0, 0] == 0.5 and found.std[0, 0] == 0.25
    assert (found.minimum[0, 0], found.maximum[0, 0]) == (0.25, 0.75)
    assert found.time_std[0, 0] == 0.25  # of 0.25 and 0.75; the third position has no value
    assert found.total_count[0] == 6 and found.total_non_finite[0] == 4
    assert found.percentiles[0].tolist() == np.percentile([0.25, 0.5, 0.5, 0.5, 0.5, 0.75], PERCENTILES).tolist()
    assert np.isfinite(found.time_profile).all()


def test_saturation_is_that_of_the_recorder() -> None:
    values = np.array([[0.01], [0.5], [0.99], [1.0]], np.float32)
    found = summarise(ArrayGateData([ATTENTION], [{ATTENTION.name: values}]))
    assert (found.saturated_low[0, 0], found.saturated_high[0, 0]) == (0.25, 0.5)
    assert found.saturated[0, 0] == 0.75 and found.statistics(0).saturated == 0.75
    wide = summarise(ArrayGateData([OPEN], [{OPEN.name: values}]))
    assert wide.saturated[0, 0] == 0


def test_a_gate_that_a_sample_lacks_is_nan_there() -> None:
    data = ArrayGateData([ATTENTION, FFN], [{ATTENTION.name: np.ones((2, 1), np.float16)}, {}])
    found = summarise(data)
    assert found.count.tolist() == [[2, 0], [0, 0]] and found.positions.tolist() == [[2, 0], [0, 0]]
    assert found.mean[0, 0] == 1 and np.isnan([found.mean[0, 1], found.mean[1, 0], found.saturated[1, 1]]).all()
    assert found.granularity == ("clipwise", "none")
    assert math.isnan(found.total_mean[1]) and np.isnan(found.percentiles[1]).all() and math.isnan(found.entropy[1])
    assert found.statistics(1).count == 0


@pytest.mark.parametrize("gates", [[], [ATTENTION, FFN]])
def test_no_samples_and_no_gates(gates: list[GateInfo]) -> None:
    empty = summarise(ArrayGateData(gates, []))
    assert empty.mean.shape == (0, len(gates)) and empty.time_profile.shape == (len(gates), 75)
    lonely = summarise(ArrayGateData([], [{}, {}]))
    assert lonely.mean.shape == lonely.positions.shape == (2, 0) and lonely.edges.shape == (0, 65)


def test_headwise_gates_have_no_time() -> None:
    values = np.array([0.1, 0.9], np.float32).reshape(2, 1, 1)
    found = summarise(ArrayGateData([ATTENTION], [{ATTENTION.name: values}]))
    assert found.granularity == ("headwise",) and found.positions[0, 0] == 2
    assert (
        found.mean[0, 0] == pytest.approx(0.5) and np.isnan(found.time_profile).all() and np.isnan(found.time_std).all()
    )


def test_values_beyond_float16_keep_their_moments() -> None:
    values = np.array([[1e6], [2e6]], np.float32)
    found = summarise(ArrayGateData([OPEN], [{OPEN.name: values}]))
    assert found.total_mean[0] == 1.5e6 and found.total_maximum[0] == 2e6 and found.histogram[0].sum() == 1


def test_one_constant_gate_has_bins_around_it() -> None:
    found = summarise(ArrayGateData([OPEN], [{OPEN.name: np.full((3, 2), 2, np.float16)}]))
    assert (found.edges[0, 0], found.edges[0, -1]) == (1.5, 2.5) and found.entropy[0] == 0 and found.total_std[0] == 0


def test_relative_time_weighs_parts_of_positions() -> None:
    rows, starts = np.array([0.0, 1.0, 2.0, 7.0, np.nan, 1.0]), np.array([0, 3, 4, 6])
    found = mean_over_bins(rows, starts, 2)
    assert found.tolist() == [
        [pytest.approx(0.5 / 1.5), pytest.approx(2.5 / 1.5)],
        [7, 7],
        [pytest.approx(np.nan, nan_ok=True), 1],
    ]
    assert mean_over_bins(np.arange(75.0), np.array([0, 75]), 75)[0] == pytest.approx(np.arange(75.0))


def test_part_of_the_samples() -> None:
    data = random_data(6)
    found = summarise(data, data.samples[2:4])
    whole = summarise(data)
    assert [sample.id for sample in found.samples] == ["q/2", "q/3"]
    assert found.mean == pytest.approx(whole.mean[2:4])
    assert whole.outcome_names == ("IoU", "rank") and whole.outcome("rank").tolist() == [6, 5, 4, 3, 2, 1]
    assert np.isnan(summarise(ArrayGateData([], [{}], [Sample(1)])).outcome("rank")).all()
