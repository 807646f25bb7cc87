"""Each analysis answers its question with numbers that can be checked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gate_data import ATTENTION, FFN, OPEN, ArrayGateData, random_data
from scipy import stats

from gatefuse_plugins.analysis.gates.clusters import gate_clusters, silhouette
from gatefuse_plugins.analysis.gates.comparison import compare_samples
from gatefuse_plugins.analysis.gates.correlations import false_discovery, gate_correlations, spearman
from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, labels
from gatefuse_plugins.analysis.gates.distributions import layer_distributions
from gatefuse_plugins.analysis.gates.entropy import gate_entropy
from gatefuse_plugins.analysis.gates.evolution import gate_evolution
from gatefuse_plugins.analysis.gates.individual import choose_samples, details, sample_gates
from gatefuse_plugins.analysis.gates.overall import overall_json, overall_statistics
from gatefuse_plugins.analysis.gates.patterns import activation_patterns
from gatefuse_plugins.analysis.gates.runs import compare_runs
from gatefuse_plugins.analysis.gates.summary import summarise
from gatefuse_plugins.errors import DataError

SECOND = replace(ATTENTION, name="layer_1.attention", layer=1)


def levels(values: list[float], *gates: GateInfo, samples: list[Sample] | None = None) -> ArrayGateData:
    """One value a sample, of each gate alike."""
    held = [{gate.name: np.full((1, 1), value, np.float32) for gate in gates} for value in values]
    return ArrayGateData(gates, held, samples or [])


def test_names_are_short_and_unlike() -> None:
    assert labels([ATTENTION, SECOND, FFN]) == ["attention, layer 0", "attention, layer 1", "ffn, layer 0"]
    assert labels([ATTENTION, replace(ATTENTION, name="b")]) == ["layer_0.attention", "b"]


def test_overall_pools_values_of_a_kind_exactly() -> None:
    first, second = np.array([[0.1], [0.2], [0.4]], np.float16), np.array([[0.9]], np.float16)
    data = ArrayGateData([ATTENTION, SECOND], [{ATTENTION.name: first, SECOND.name: second}])
    found = overall_statistics(summarise(data))
    pooled = np.concatenate([first, second]).astype(float)
    kind = found.by_kind["attention"]
    assert (kind.count, kind.mean, kind.std) == (4, pytest.approx(pooled.mean()), pytest.approx(pooled.std()))
    quarters = np.percentile(pooled, [25, 50, 75, 95])
    assert [kind.percentile_25, kind.median, kind.percentile_75, kind.percentile_95] == pytest.approx(quarters)
    assert (found.samples, found.layers, found.gating_type) == (1, 2, "clipwise")
    written = overall_json(found)
    assert written["attention_gates"]["median"] == pytest.approx(quarters[1])
    assert written["layer_statistics"]["1"]["attention_mean"] == pytest.approx(0.9, abs=1e-3)
    assert (written["total_samples"], written["num_layers"], written["gating_type"]) == (1, 2, "clipwise")


def test_overall_of_nothing_is_json() -> None:
    written = overall_json(overall_statistics(summarise(ArrayGateData([ATTENTION], []))))
    assert written["attention_gates"]["mean"] is None and written["total_samples"] == 0
    assert overall_json(overall_statistics(summarise(ArrayGateData([], []))))["gating_type"] == "none"


def test_spread_between_and_within_samples() -> None:
    rising = np.array([[0.0], [1.0]], np.float32)
    data = ArrayGateData([ATTENTION], [{ATTENTION.name: rising}, {ATTENTION.name: rising / 2}])
    found = overall_statistics(summarise(data))
    assert found.between_samples == (pytest.approx(0.125),) and found.within_samples == (pytest.approx(0.375),)


def test_distributions_know_kinds_and_layers() -> None:
    found = layer_distributions(summarise(levels([0.0, 0.5, 1.0], SECOND, ATTENTION, OPEN)))
    assert found.kinds == ("attention", "delta") and found.layers == (0, 1)
    (one,) = found.at("attention", 1)
    assert one.gate == SECOND and one.count == 3 and one.mean == pytest.approx(0.5)
    assert found.at("delta", 0) == [] and one.shares[[0, 32, 63]].tolist() == [pytest.approx(1 / 3)] * 3


def test_patterns_rank_samples_and_leave_out_those_without_gates() -> None:
    found = activation_patterns(summarise(levels([0.3, math.nan, 0.9, 0.1], ATTENTION, SECOND)), 2)
    assert found.top == (2, 0) and found.bottom == (3, 0)
    (kind,) = found.kinds
    assert kind.labels == ("layer 0", "layer 1") and kind.means.shape == (4, 2)
    assert kind.layer_means == pytest.approx([1.3 / 3] * 2) and kind.sample_means[2] == pytest.approx(0.9)
    assert activation_patterns(summarise(levels([], ATTENTION))).top == ()


def test_clusters_find_groups_that_are_there_and_none_that_are_not() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.1, 0.01, 30), rng.normal(0.9, 0.01, 10), rng.normal(0.5, 0.01, 20)])
    samples = [Sample(at, outcomes={"IoU": float(value > 0.8)}) for at, value in enumerate(values)]
    found = gate_clusters(summarise(levels(values.tolist(), ATTENTION, samples=samples)))
    assert found.k == 3 and found.sizes.tolist() == [30, 20, 10] and found.silhouette > 0.9
    assert found.labels.tolist() == [0] * 30 + [2] * 10 + [1] * 20
    assert found.centers[:, 0] == pytest.approx([0.1, 0.5, 0.9], abs=0.02)
    assert found.outcomes["IoU"].tolist() == [0, 0, 1] and found.explained[0] == pytest.approx(1)
    again = gate_clusters(summarise(levels(values.tolist(), ATTENTION, samples=samples)))
    assert np.array_equal(found.labels, again.labels)
    constant = gate_clusters(summarise(levels([0.5] * 9, ATTENTION)))
    assert constant.k == 1 and "same in all samples" in constant.note
    few = gate_clusters(summarise(levels([0.1, 0.9], ATTENTION)))
    assert few.k == 1 and "too few" in few.note
    assert gate_clusters(summarise(levels([], ATTENTION))).k == 0
    assert gate_clusters(summarise(ArrayGateData([], [{}] * 5))).k == 0


def test_samples_that_lack_a_gate_are_in_no_cluster() -> None:
    values = [{ATTENTION.name: np.full((1, 1), at % 2 * 0.8, np.float32)} for at in range(9)]
    values[4] = {}
    found = gate_clusters(summarise(ArrayGateData([ATTENTION], values)))
    assert found.labels[4] == -1 and np.isnan(found.projection[4]).all() and found.k == 2


def test_silhouette_is_rousseeuws() -> None:
    points, clusters = np.array([[0.0], [1.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])
    inside, outside = np.array([1, 1, 2, 2]), np.array([5, 4, 3.5, 5.5])
    assert silhouette(points, clusters) == pytest.approx(((outside - inside) / np.maximum(inside, outside)).mean())
    assert silhouette(points, np.zeros(4, int)) == -1


def test_correlations_are_scipys_with_n() -> None:
    data = random_data(20)
    found = gate_correlations(summarise(data))
    summary = summarise(data)
    expected = stats.spearmanr(summary.mean)
    assert found.matrix == pytest.approx(expected.statistic) and found.unit == "samples"
    (pair,) = [one for one in found.between_kinds if (one.first, one.second) == ("attention", "ffn")]
    assert (pair.rho, pair.n) == (pytest.approx(expected.statistic[0, 1]), 20)
    table = {(one.first, one.second): one for one in found.with_outcomes}
    assert table["attention, layer 0", "rank"].rho < -0.9 < 0.9 < table["attention, layer 0", "IoU"].rho
    assert table["attention, layer 0", "IoU"].q <= 1 and len(table) == 6


def test_correlations_leave_out_what_is_missing_or_constant() -> None:
    nan = math.nan
    assert spearman(np.array([1.0, 2, nan, 3]), np.array([1.0, 2, 3, 4])) == (pytest.approx(1), 0, 3)
    assert spearman(np.array([1.0, 2]), np.array([1.0, 2]))[2] == 2
    assert math.isnan(spearman(np.ones(5), np.arange(5.0))[0])
    assert false_discovery(np.array([0.01, nan, 0.04, 0.03])).tolist() == pytest.approx(
        [0.03, nan, 0.04, 0.04], nan_ok=True
    )
    falling = [{ATTENTION.name: np.full((1, 1), at / 9, np.float32)} for at in range(8)]
    for at in range(1, 8, 2):
        falling[at][SECOND.name] = np.full((1, 1), 1 - at / 9, np.float32)
    lacking = ArrayGateData([ATTENTION, SECOND], falling)
    found = gate_correlations(summarise(lacking))
    assert found.matrix[0, 1] == pytest.approx(-1) and found.counts.tolist() == [[8, 4], [4, 4]]
    constant = gate_correlations(summarise(levels([0.5] * 4, ATTENTION, SECOND)))
    assert constant.matrix.tolist() == [[1, pytest.approx(nan, nan_ok=True)], [pytest.approx(nan, nan_ok=True), 1]]
    assert gate_correlations(summarise(ArrayGateData([], []))).matrix.shape == (0, 0)


def test_samples_of_one_video_count_once_where_gates_are_the_videos() -> None:
    rng = np.random.default_rng(0)
    samples = [Sample(at, f"v{at // 5}", None, {"IoU": float(rng.random())}) for at in range(40)]
    same = summarise(levels([0.1 * (at // 5) for at in range(40)], ATTENTION, samples=samples))
    found = gate_correlations(same)
    assert found.unit == "videos" and found.with_outcomes[0].n == 8
    means = same.outcome("IoU").reshape(8, 5).mean(axis=1)
    assert found.with_outcomes[0].rho == pytest.approx(stats.spearmanr(np.arange(8), means).statistic)
    other = summarise(levels(rng.random(40).tolist(), ATTENTION, samples=samples))
    assert gate_correlations(other).unit == "samples"


def test_single_samples() -> None:
    values = np.array([[0.0, 1.0], [np.nan, 0.5], [np.nan, np.inf]], np.float32)
    data = ArrayGateData([ATTENTION, FFN], [{ATTENTION.name: values}], [Sample("a/b", "v", "q", {"IoU": math.nan})])
    (sample,) = choose_samples(data, 1, ["a/b"])
    one = sample_gates(data, sample)
    assert one.gates[0].granularity == "elementwise" and one.gates[1].granularity == "none"
    assert one.gates[0].curve == pytest.approx([0.5, 0.5, np.nan], nan_ok=True)
    assert one.gates[0].band[0] == pytest.approx([0.1, 0.9]) and one.gates[1].band.shape == (0, 2)
    written = details(one)
    assert written["sample_id"] == "a/b" and written["outcomes"] == {"IoU": None} and written["num_layers"] == 1
    assert written["layer_analysis"][0]["attention_gate"]["mean"] == 0.5
    assert written["layer_analysis"][0]["ffn_gate"]["mean"] is None
    with pytest.raises(DataError, match=r"in none of the 1 samples of arrays: a/c \(nearest: a/b\)"):
        choose_samples(data, 0, ["a/c"])
    assert (
        len(choose_samples(random_data(5), -1, ["q/1"])) == 5 and len(choose_samples(random_data(5), 2, ["q/4"])) == 3
    )


def test_samples_side_by_side() -> None:
    data = ArrayGateData(
        [ATTENTION, FFN],
        [
            {ATTENTION.name: np.array([[0.0], [1.0]], np.float32), FFN.name: np.full((2, 1), 0.1, np.float32)},
            {ATTENTION.name: np.full((3, 1), 0.8, np.float32)},
        ],
    )
    found = compare_samples(tuple(sample_gates(data, sample) for sample in data.samples))
    assert found.means[0] == pytest.approx([0.5, 0.1]) and np.isnan(found.means[1, 1])
    assert found.distances == pytest.approx(np.array([[0, 0.3], [0.3, 0]])) and found.curves.shape == (2, 2, 75)
    assert found.curves[0, 0, :37] == pytest.approx(0) and found.curves[1, 0] == pytest.approx(0.8)


def test_runs_are_matched_by_kind_and_layer() -> None:
    samples = [Sample(at) for at in range(10)]
    first = summarise(levels([at / 20 for at in range(10)], ATTENTION, samples=samples))
    renamed = replace(ATTENTION, name="another.tap")
    second = summarise(levels([at / 20 + 0.1 for at in range(2, 10)], renamed, FFN, samples=samples[2:]))
    found = compare_runs({"a": first, "b": second})
    assert found.labels == ("attention, layer 0", "ffn, layer 0") and found.samples == (10, 8)
    assert found.means[0] == pytest.approx([0.225, np.nan], nan_ok=True)
    (paired,) = found.paired
    assert (paired.n, paired.difference, paired.rho) == (8, pytest.approx(0.1), pytest.approx(1))
    assert paired.p < 0.05
    apart = compare_runs({"a": first, "c": summarise(levels([0.5], ATTENTION, samples=[Sample("x")]))})
    assert apart.paired[0].n == 0 and math.isnan(apart.paired[0].difference)


def test_evolution_reads_the_monitors_columns(tmp_path: Path) -> None:
    log = tmp_path / "training_log.csv"
    log.write_text(
        "step,epoch,split,seconds,loss,gates/f.0.a/mean,gates/f.0.a/std,gates/f.1.b/mean,mAP\n"
        "10,1,train,1.0,3.0,0.5,0.1,0.2,\n20,1,val,2.0,,,,,31.5\n20,1,train,2.0,2.0,0.6,0.2,0.1,\n"
    )
    found = gate_evolution(log, {"f.1.b": "ffn, layer 1"})
    assert [one.label for one in found.gates] == ["0.a", "ffn, layer 1"]
    assert found.gates[0].steps.tolist() == [10, 20] and found.gates[0].std.tolist() == [0.1, 0.2]
    assert np.isnan(found.gates[1].maximum).all()
    assert {name: rows.tolist() for name, rows in found.metrics.items()} == {"mAP": [[20, 31.5]]}
    log.write_text("step,epoch,split,seconds,loss\n")
    with pytest.raises(DataError, match="no gate columns"):
        gate_evolution(log)


def test_entropy_is_a_share_of_the_largest() -> None:
    even = np.linspace(0, 1, 6400, dtype=np.float32)[:, None]
    found = gate_entropy(summarise(ArrayGateData([ATTENTION, FFN], [{ATTENTION.name: even, FFN.name: even * 0}])))
    assert found.normalised == (pytest.approx(1, abs=1e-3), 0) and found.entropy[0] == pytest.approx(
        math.log(64), abs=1e-2
    )
