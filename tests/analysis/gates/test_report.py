"""The folder of a report, whatever the gates are like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gate_data import ATTENTION, FFN, ArrayGateData, random_data

from gatefuse_plugins.analysis.gates.comparison import compare_samples
from gatefuse_plugins.analysis.gates.data import Sample
from gatefuse_plugins.analysis.gates.individual import choose_samples, sample_gates
from gatefuse_plugins.analysis.gates.markdown import markdown
from gatefuse_plugins.analysis.gates.report import build_report
from gatefuse_plugins.analysis.gates.runs import compare_runs
from gatefuse_plugins.analysis.gates.summary import GateSummary, summarise
from gatefuse_plugins.analysis.gates.writing import write_report
from gatefuse_plugins.registry import ANALYSES

ROOT_FILES = {
    *("ANALYSIS_REPORT.md", "report.html", "overall_statistics.json", "overall_statistics.png", "analyses.json"),
    *("layer_distributions.png", "activation_patterns.png", "gate_clustering.png", "gate_correlations.png"),
    *("gate_sections.png", "gate_top_bottom.png", "gate_layerwise_means.png", "gate_samples_layermean.png"),
}


@dataclass(frozen=True)
class Spread:
    labels: tuple[str, ...]
    spread: tuple[float, ...]
    note: str


@pytest.fixture
def own_analyses() -> Iterator[None]:
    def spread(summary: GateSummary) -> Spread:
        width = (summary.total_maximum - summary.total_minimum).tolist()
        return Spread(tuple(gate.name for gate in summary.gates), tuple(width), "a | b")

    def failing(summary: GateSummary) -> None:
        raise RuntimeError("no idea")

    ANALYSES.register_module(name="spread", module=spread)
    ANALYSES.register_module(name="failing", module=failing)
    yield
    for name in ("spread", "failing"):
        ANALYSES.module_dict.pop(name)


def test_all_files_of_a_full_report(tmp_path: Path, own_analyses: None) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")
    data = random_data(9)
    individuals = tuple(sample_gates(data, sample) for sample in choose_samples(data, 1, ["q/3"]))
    summary = summarise(data)
    runs = compare_runs({"first": summary, "second": summarise(random_data(9, seed=1))})
    more = {"individuals": individuals, "comparison": compare_samples(individuals), "runs": runs}
    report = build_report(summary, ("Mind the gap.",), **more)
    assert write_report(tmp_path, report, raw=True) == tmp_path
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == ROOT_FILES | {"gate_runs.png"}
    names = {path.name for path in (tmp_path / "individual_samples").iterdir()}
    assert names == {
        f"{kind.format('q%2F' + at)}" for at in "03" for kind in ("{}_details.json", "gate_analysis_{}.png")
    }
    assert (tmp_path / "comparisons" / "gate_comparison.png").stat().st_size > 1000
    raw = {path.name for path in (tmp_path / "raw_data").iterdir()}
    assert raw == {f"q%2F{at}_{gate}.npy" for at in "03" for gate in ("layer0_att", "layer0_ffn", "layer1_delta")}
    saved = np.load(tmp_path / "raw_data" / "q%2F3_layer0_att.npy")
    assert np.array_equal(saved, data.values("q/3", ATTENTION.name)) and saved.dtype == np.float16
    text = (tmp_path / "ANALYSIS_REPORT.md").read_text()
    assert text.split("\n\n")[1] == report.diagnosis.paragraph
    for title in ("To know", "Overall", "Gates", "Samples", "Correlations", "Compared samples", "Runs", "Own analyses"):
        assert f"\n## {title}\n" in text
    assert "- Mind the gap." in text and "The analysis failing failed and is missing: RuntimeError: no idea" in text
    assert "- note: a | b" in text and f"| {ATTENTION.name} |" in text
    tables = json.loads((tmp_path / "analyses.json").read_text())
    assert tables["extra"]["entropy"]["labels"][0] == "attention, layer 0" and tables["evolution"] is None
    assert tables["clusters"]["k"] == len(tables["clusters"]["sizes"])


def broken() -> ArrayGateData:
    return ArrayGateData([ATTENTION, FFN], [{ATTENTION.name: np.full((3, 2), np.nan, np.float16)}] * 3)


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (ArrayGateData([], []), "no gates"),
        (ArrayGateData([ATTENTION, FFN], []), "no data"),
        (ArrayGateData([ATTENTION], [{ATTENTION.name: np.full((1, 1), 0.5, np.float16)}]), "no data"),
        (ArrayGateData([ATTENTION], [{ATTENTION.name: np.zeros((4, 2), np.float16)}] * 5), "collapsed"),
        (random_data(1), "healthy"),
    ],
    ids=["no gates", "no samples", "one value", "constant", "one sample"],
)
def test_odd_gates_give_a_sensible_report(data: ArrayGateData, verdict: str, tmp_path: Path) -> None:
    individuals = tuple(sample_gates(data, sample) for sample in choose_samples(data, 2))
    report = build_report(summarise(data), individuals=individuals)
    assert report.diagnosis.verdict == verdict
    write_report(tmp_path, report)
    assert {path.name for path in tmp_path.iterdir()} >= ROOT_FILES


def test_a_hundred_thousand_samples() -> None:
    rng = np.random.default_rng(0)
    held = np.concatenate([rng.normal(0.2, 0.02, (70_000, 1, 1)), rng.normal(0.8, 0.02, (30_000, 1, 1))])
    values = [{ATTENTION.name: one, FFN.name: one - 0.5} for one in held.astype(np.float16)]
    samples = [Sample(at, f"v{at // 2}", None, {"IoU": float(one)}) for at, one in enumerate(held[:, 0, 0])]
    report = build_report(summarise(ArrayGateData([ATTENTION, FFN], values, samples)))
    assert report.clusters.sizes.tolist() == [70_000, 30_000] and report.overall.samples == 100_000
    assert report.correlations.with_outcomes[0].rho > 0.99 and len(markdown(report)) < 20_000


def test_gates_that_are_no_numbers_are_named_first(tmp_path: Path) -> None:
    report = build_report(summarise(broken()))
    assert report.diagnosis.verdict == "broken" and "18 values were NaN or infinite" in markdown(report)
    write_report(tmp_path, report)


def test_markdown_survives_ids_that_are_markup() -> None:
    data = random_data(4)
    data.samples[0] = type(data.samples[0])("a|b<script>\nc", outcomes={})
    data._values["a|b<script>\nc"] = data._values["q/0"]
    text = markdown(build_report(summarise(data)))
    assert "a\\|b&lt;script> c" in text and "<script>" not in text
