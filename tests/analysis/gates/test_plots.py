"""Pictures of gate analyses show the numbers that they are given, and say so where there are none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_data import ATTENTION, FFN, ArrayGateData, random_data

from gatefuse_plugins.analysis.gates.clusters import gate_clusters
from gatefuse_plugins.analysis.gates.comparison import compare_samples
from gatefuse_plugins.analysis.gates.correlations import gate_correlations
from gatefuse_plugins.analysis.gates.data import GateInfo, Sample
from gatefuse_plugins.analysis.gates.diagnosis import diagnose_summary
from gatefuse_plugins.analysis.gates.distributions import layer_distributions
from gatefuse_plugins.analysis.gates.evolution import GateCurveOverTraining, GateEvolution
from gatefuse_plugins.analysis.gates.individual import sample_gates
from gatefuse_plugins.analysis.gates.intervention_table import InterventionRow, InterventionTable
from gatefuse_plugins.analysis.gates.overall import overall_statistics
from gatefuse_plugins.analysis.gates.patterns import activation_patterns
from gatefuse_plugins.analysis.gates.report import GateReport
from gatefuse_plugins.analysis.gates.runs import compare_runs
from gatefuse_plugins.analysis.gates.summary import summarise

pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")

from gatefuse_plugins.analysis.gates.plots.correlations import correlations_figure
from gatefuse_plugins.analysis.gates.plots.evolution import evolution_figure
from gatefuse_plugins.analysis.gates.plots.heat_maps import averaged_columns
from gatefuse_plugins.analysis.gates.plots.histograms import distributions_figure, overall_figure
from gatefuse_plugins.analysis.gates.plots.individual import sample_figure
from gatefuse_plugins.analysis.gates.plots.interventions import interventions_figure
from gatefuse_plugins.analysis.gates.plots.pattern_bars import extremes_figure, layer_means_figure
from gatefuse_plugins.analysis.gates.plots.patterns import activation_figure, samples_figure, sections_figure
from gatefuse_plugins.analysis.gates.plots.runs import runs_figure
from gatefuse_plugins.analysis.gates.plots.style import colour_scale, kind_colours
from gatefuse_plugins.analysis.gates.plots.write import BUILT_IN, write_plots
from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.registry import PLOTS

PNG = b"\x89PNG"


def report_of(data: ArrayGateData, individuals: int = 1, **more: Any) -> GateReport:
    summary = summarise(data)
    chosen = tuple(sample_gates(data, sample) for sample in data.samples[:individuals])
    return GateReport(
        origin=data.origin,
        summary=summary,
        diagnosis=diagnose_summary(summary),
        overall=overall_statistics(summary),
        distributions=layer_distributions(summary),
        patterns=activation_patterns(summary),
        clusters=gate_clusters(summary),
        correlations=gate_correlations(summary),
        individuals=chosen,
        comparison=compare_samples(chosen),
        **more,
    )


def texts(figure: Any) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def image_of(axis: Any) -> np.ndarray:
    (image,) = axis.get_images()
    return np.asarray(image.get_array().filled(np.nan))


def test_every_picture_of_a_report_is_written(tmp_path: Path) -> None:
    data = random_data(6)
    steps = np.array([0.0, 10.0])
    curve = GateCurveOverTraining("a", "attention", steps, steps / 10, steps / 20, steps, steps)
    report = report_of(
        data,
        individuals=2,
        evolution=GateEvolution("training_log.csv", (curve,), {"mAP": np.array([[0.0, 1.0]])}),
        runs=compare_runs({"a": summarise(data), "b": summarise(random_data(6, seed=1))}),
        interventions=table(row("neutral", -1.0, -2.0, -0.5)),
    )
    paths = write_plots(tmp_path, report)
    expected = {f"{name}.png" for name in BUILT_IN if name != "gate_map"}
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    assert names == expected | {f"individual_samples/gate_analysis_q%2F{at}.png" for at in range(2)}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == names
    assert all(path.read_bytes().startswith(PNG) for path in paths)


@pytest.mark.parametrize("case", ["zero samples", "one sample", "NaN", "constant", "absent"])
def test_whatever_is_missing_is_said_and_nothing_fails(tmp_path: Path, case: str) -> None:
    gates = [ATTENTION, FFN, replace(ATTENTION, name="layer_1.attention", layer=1)]
    whole = {gate.name: np.full((4, 3), 0.25, np.float32) for gate in gates}
    values = {
        "zero samples": [],
        "one sample": [whole],
        "NaN": [{name: np.full((4, 3), np.nan, np.float32) for name in whole}] * 3,
        "constant": [whole] * 3,
        "absent": [whole, {ATTENTION.name: whole[ATTENTION.name]}, {}],
    }[case]
    report = report_of(ArrayGateData(gates, values), individuals=3)
    figures = [draw(report) for draw in BUILT_IN.values()] + [sample_figure(one) for one in report.individuals]
    assert sum(figure is not None for figure in figures) == 10 + len(report.individuals)
    if case == "absent":  # drawing takes seconds: once will do
        write_plots(tmp_path, report)
    said = texts(overall_figure(report.overall)) + texts(sections_figure(report.patterns))
    assert ("no values" in said) == (case in ("zero samples", "NaN"))


def test_histograms_mark_mean_median_and_neutral_value() -> None:
    report = report_of(random_data(5))
    figure = overall_figure(report.overall)
    found = report.overall.by_kind["attention"]
    axis = figure.axes[0]
    assert axis.get_title("left").startswith(f"attention (mean {found.mean:.3g}, median {found.median:.3g}, neutral 0)")
    assert [line.get_xdata()[0] for line in axis.get_lines()] == [found.mean, 0.0]
    (bars,) = axis.patches
    assert list(bars.get_data().values) == list(found.histogram)
    panels = distributions_figure(report.distributions).axes
    assert len(panels) == 3 * 2  # three kinds in two layers
    assert sum("no such gate" in texts(panel) for panel in panels) == 3
    one = report.distributions.gates[0]
    assert [line.get_xdata()[0] for line in panels[0].get_lines()] == [one.mean, one.percentiles[2], 0.0]


def test_heat_maps_hold_the_means_of_samples_and_layers() -> None:
    report = report_of(random_data(7))
    attention = report.patterns.kinds[0]
    axes = sections_figure(report.patterns).axes
    np.testing.assert_allclose(image_of(axes[0]), attention.means.T)
    np.testing.assert_allclose(image_of(activation_figure(report.patterns).axes[0]), attention.means)
    np.testing.assert_allclose(image_of(samples_figure(report.patterns).axes[0])[0], attention.sample_means)
    assert axes[0].get_title("left") == "attention (neutral 0)"
    # kinds with one neutral value share a scale
    limits = {axis.get_images()[0].get_clim() for axis in axes}
    assert len(limits) == 1


def test_bars_of_extreme_samples_and_layers() -> None:
    report = report_of(random_data(12))
    largest, smallest = extremes_figure(report.patterns).axes
    names = [label.get_text() for label in largest.get_xticklabels()]
    assert names == [report.patterns.sample_ids[at] for at in report.patterns.top]
    heights = [bar.get_height() for bar in smallest.patches]
    np.testing.assert_allclose(heights, report.patterns.sample_means[list(report.patterns.bottom)])
    (axis,) = layer_means_figure(report.patterns).axes
    tops = [bar.get_y() + bar.get_height() for bar in axis.patches]
    np.testing.assert_allclose(tops, [kind.layer_means[0] for kind in report.patterns.kinds])


def test_a_sample_shows_curves_bands_and_channels() -> None:
    data = random_data(2)
    one = sample_gates(data, replace(data.samples[1], query="costs $5 and $6"))
    figure = sample_figure(one)
    curves, channels, *_ = figure.axes
    attention = one.gates[0]
    np.testing.assert_allclose(curves.get_lines()[0].get_ydata(), attention.curve)
    drawn = image_of(channels)
    assert drawn.shape == attention.values.T.shape
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(attention.values.astype(np.float32).T, axis=0))
    assert (np.diff(drawn.mean(axis=1)) <= 1e-6).all()  # channels stand in the order of their means
    assert "costs $5 and $6" in texts(figure) and "IoU 1" in texts(figure)
    (query,) = [text for text in figure.texts if "$5" in text.get_text()]
    assert not query.get_parse_math()


def test_headwise_and_global_gates_of_a_sample() -> None:
    heads = GateInfo("h", "query", 0, 0.0, 1.0, 1.0)
    values = {"h": np.linspace(0, 1, 8, dtype=np.float32).reshape(8, 1, 1), "g": np.array([[0.3]], np.float32)}
    data = ArrayGateData([heads, replace(FFN, name="g")], [values], [Sample(5)])
    by_head, whole = sample_figure(sample_gates(data, data.samples[0])).axes
    assert by_head.get_xlabel() == "head" and whole.get_xlabel() == "whole sample"
    np.testing.assert_allclose(by_head.get_lines()[0].get_ydata(), np.linspace(0, 1, 8))
    assert by_head.get_lines()[-1].get_ydata()[0] == 1.0  # the neutral value
    np.testing.assert_allclose(whole.get_lines()[0].get_ydata(), 0.3)


def test_correlations_runs_and_evolution() -> None:
    data = random_data(8)
    found = gate_correlations(summarise(data))
    gates, outcomes, *_ = correlations_figure(found).axes
    np.testing.assert_allclose(image_of(gates), found.matrix)
    assert [label.get_text() for label in outcomes.get_xticklabels()] == ["IoU", "rank"]
    assert "1.00*" in texts(outcomes)  # the attention gates follow the IoU
    runs = compare_runs({"first": summarise(data), "second": summarise(random_data(8, seed=3))})
    means, *_ = runs_figure(runs).axes
    np.testing.assert_allclose([bar.get_height() for bar in means.patches], runs.means.ravel())
    curve = GateCurveOverTraining("n", "ffn, layer 0", *(np.array([0.0, math.nan, 4.0]) for _ in range(5)))
    axis = evolution_figure(GateEvolution("log.csv", (curve,), {})).axes[0]
    assert axis.get_lines()[0].get_ydata().tolist() == [0.0, 4.0]


def row(intervention: str, change: float, low: float, high: float, applicable: bool = True) -> InterventionRow:
    figures = (40.0, 40.0 + change, change, low, high, 0.1)
    return InterventionRow(intervention, None, None, ("g",), "R1@0.5", *figures, 9, 9, applicable, "", "")


def table(*rows: InterventionRow) -> InterventionTable:
    return InterventionTable(rows, ("R1@0.5",) if rows else (), "points", 9, 9, 100, 0)


def test_intervals_of_interventions() -> None:
    nan = math.nan
    rows = (row("neutral", -3.0, -4.5, -1.0), row("mean", 0.5, -1.0, 2.0), row("open", nan, nan, nan, False))
    (axis,) = interventions_figure(table(*rows)).axes
    intervals = {line.get_color(): list(line.get_xdata()) for line in axis.get_lines() if len(line.get_xdata()) == 2}
    assert [-4.5, -1.0] in intervals.values() and [-1.0, 2.0] in intervals.values()
    assert len({line.get_color() for line in axis.get_lines()[:4]}) == 2  # one interval excludes 0
    assert [label.get_text() for label in axis.get_yticklabels()][2] == "open: all gates" and "n/a" in texts(axis)
    assert "no interventions" in texts(interventions_figure(table()))


def test_plots_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(random_data(2), individuals=1)
    monkeypatch.setattr(PLOTS, "_module_dict", {})

    @PLOTS.register_module(name="own_broken")
    def broken(report: GateReport) -> Any:
        raise ZeroDivisionError("by design")

    @PLOTS.register_module(name="own_plot")
    def own(report: GateReport) -> Any:
        return sections_figure(report.patterns)

    with pytest.raises(GatefuseError, match=r"1 plots failed \(own_broken: ZeroDivisionError: by design\)"):
        write_plots(tmp_path, report)
    assert (tmp_path / "own_plot.png").read_bytes().startswith(PNG)
    assert (tmp_path / "individual_samples/gate_analysis_q%2F0.png").is_file()


def test_scales_and_colours() -> None:
    colours, low, high = colour_scale(np.array([-0.2, 0.6, np.nan]), 0.0)
    assert (colours.name, low, high) == ("RdBu_r", pytest.approx(-0.6), pytest.approx(0.6))
    colours, low, high = colour_scale(np.array([0.2, 0.6]), 0.0)
    assert (colours.name, low, high) == ("viridis", 0.2, 0.6)
    _, low, high = colour_scale(np.array([0.5, 0.5 + 1e-9]), 0.5)
    assert high - low > 1e-3  # rounding noise is no pattern
    kinds = kind_colours(["mine", "ffn", "other", "attention"])
    assert len(set(kinds.values())) == 4 and kinds["ffn"] == kind_colours(["ffn"])["ffn"]


def test_more_samples_than_pixels_are_averaged() -> None:
    values = np.arange(12, dtype=float)[None]
    values[0, 4:8] = np.nan
    np.testing.assert_allclose(averaged_columns(values, 3), [[1.5, np.nan, 9.5]])
    assert averaged_columns(values, 12) is values
    assert averaged_columns(np.zeros((2, 100_001)), 1000).shape == (2, 1000)
