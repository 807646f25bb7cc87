"""Healthy, collapsed and saturated gates are told apart by the first paragraph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from health_models import GAINS, SoundScorer, avigate_summary, sound_summary, sound_task

from gatefuse_plugins.analysis.gates.diagnosis import diagnose_summary, response
from gatefuse_plugins.analysis.gates.intervention_options import StudyOptions
from gatefuse_plugins.analysis.gates.intervention_study import compare_interventions
from gatefuse_plugins.analysis.gates.sources import StoreGateData
from gatefuse_plugins.analysis.gates.summary import GateSummary, summarise
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording import GateStoreWriter, TapValues
from gatefuse_plugins.recording.health import GateThresholds

HEADLINES = {
    "healthy": "The gates are healthy: their input moves",
    "collapsed": "The gates have collapsed: no input moves",
    "saturated": "The gates are saturated: ",
}


@pytest.mark.parametrize("state", GAINS)
def test_the_paragraph_tells_the_three_apart_and_says_what_the_gates_are_worth(state: str, tmp_path: Path) -> None:
    task, model = sound_task(), SoundScorer(GAINS[state])
    options = StudyOptions(interventions=("neutral", "mean"), scopes=("all",), resamples=200)
    table = compare_interventions(lambda: task.outcomes(model), model, options)
    found = diagnose_summary(sound_summary(model, task, tmp_path / "gates"), table)
    assert found.verdict == state
    assert found.paragraph.startswith(HEADLINES[state])
    assert "attention (1 gate) has mean" in found.paragraph
    assert ("So nothing shows yet that the model needs its gates" in found.paragraph) == (state == "collapsed")
    assert ("the model relies on what they let through" in found.paragraph) == (state != "collapsed")


@pytest.mark.parametrize("generation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("gating_type", ["clipwise", "elementwise"])
@pytest.mark.parametrize("state", GAINS)
def test_both_generations_of_audio_gates_are_judged(
    state: str, gating_type: str, generation: str, tmp_path: Path
) -> None:
    found = diagnose_summary(avigate_summary(GAINS[state], generation, gating_type, tmp_path / "gates"))
    assert found.verdict == state
    assert found.paragraph.startswith(HEADLINES[state])
    causes = {finding.cause for finding in found.findings}
    level = {"dominance"} if generation == "tanh" else set()  # their FFN gates are large: a caution, no verdict
    assert (
        causes - {"dominance"}
        == {
            "healthy": set(),
            "collapsed": {"collapse", "constant"} if generation == "sigmoid" else {"collapse"},
            "saturated": {"saturation"},
        }[state]
    )
    assert causes & {"dominance"} <= level


def summary_of(
    folder: Path, gates: list[np.ndarray], kind: str = "attention", low: float | None = -1.0, high: float | None = 1.0
) -> GateSummary:
    """Figures of given gates, (samples, rows, width) each; one kind, a layer each."""
    taps = {f"gate.{layer}": GateTap(kind, low, high, layer=layer) for layer in range(len(gates))}
    with GateStoreWriter(folder, taps) as writer:
        for row in range(len(gates[0]) if gates else 0):
            part = [
                TapValues(name, tap, 0, values[row : row + 1].astype(np.float32), None)
                for (name, tap), values in zip(taps.items(), gates, strict=True)
            ]
            writer.append([row], part)
    return summarise(StoreGateData(folder))


def random_gates(shape: tuple[int, ...], scale: float = 0.3) -> np.ndarray:
    return np.tanh(scale * np.random.default_rng(0).standard_normal(shape))


def test_a_mixed_model_names_its_faulty_gates(tmp_path: Path) -> None:
    good, shut = random_gates((20, 5, 1)), np.full((20, 5, 1), 1e-4)
    found = diagnose_summary(summary_of(tmp_path / "gates", [good, shut]))
    assert found.verdict == "mixed"
    assert found.paragraph.startswith("The gates are healthy in part: 1 of 2 have a fault.")
    assert "Faults: attention, layer 1 (collapsed beside neutral or 0)." in found.paragraph
    assert [(finding.gate, finding.cause) for finding in found.findings] == [("gate.1", "collapse")]


def test_channels_that_differ_but_never_change_are_a_fixed_weight(tmp_path: Path) -> None:
    fixed = np.broadcast_to(random_gates((8,), 1.0), (20, 5, 8))
    summary = summary_of(tmp_path / "gates", [fixed])
    assert float(summary.total_std[0]) > 0.3
    assert response(summary, 0) < 1e-6
    found = diagnose_summary(summary)
    assert (found.verdict, [finding.cause for finding in found.findings]) == ("collapsed", ["constant"])
    assert "no input moves the only one" in found.paragraph


def test_nan_breaks_a_model(tmp_path: Path) -> None:
    gates = random_gates((20, 5, 1))
    gates[3, 2] = np.nan
    found = diagnose_summary(summary_of(tmp_path / "gates", [gates, random_gates((20, 5, 1))]))
    assert found.verdict == "broken"
    assert found.paragraph.startswith("The gates are broken: NaN or infinite values came out")
    assert "gave 1 values that are NaN or infinite (1.0%)" in found.findings[0].message


def test_nothing_to_judge_is_said_so(tmp_path: Path) -> None:
    assert diagnose_summary(summary_of(tmp_path / "none", [])).verdict == "no gates"
    empty = diagnose_summary(summary_of(tmp_path / "empty", [np.zeros((0, 5, 1))]))
    assert (empty.verdict, empty.paragraph) == (
        "no data",
        "No verdict on the gates is possible: no sample has a value.",
    )
    one = diagnose_summary(summary_of(tmp_path / "one", [np.full((1, 1, 1), 0.4)]))
    assert one.verdict == "no data"
    assert "one value a gate cannot show whether it follows its input" in one.paragraph


def test_one_sample_is_enough_where_the_gate_moves_along_it(tmp_path: Path) -> None:
    assert diagnose_summary(summary_of(tmp_path / "gates", [random_gates((1, 30, 1))])).verdict == "healthy"


def test_an_open_range_saturates_at_what_it_gave(tmp_path: Path) -> None:
    switch = np.where(random_gates((20, 5, 1)) > 0, 0.83, 0.0)
    found = diagnose_summary(summary_of(tmp_path / "gates", [switch], low=0.0, high=None))
    assert found.verdict == "saturated"
    assert "100% of its values lie in the first and the last of 64 bins" in found.findings[0].message
    assert "100% of its values in the outermost bins." in found.paragraph
    bounded = diagnose_summary(summary_of(tmp_path / "bounded", [random_gates((20, 5, 1))]))
    assert "of its values at the ends." in bounded.paragraph and "bins" not in bounded.paragraph


def test_cautions_change_no_verdict_and_thresholds_are_ones_own(tmp_path: Path) -> None:
    summary = summary_of(tmp_path / "gates", [random_gates((20, 5, 1))], kind="ffn")
    strict = GateThresholds(dominance_level=0.1)
    found = diagnose_summary(summary, thresholds=strict)
    assert (found.verdict, found.thresholds) == ("healthy", strict)
    assert "Caution: ffn, layer 0 (too strong)." in found.paragraph
    assert diagnose_summary(summary, thresholds=GateThresholds(collapse_std=2.0)).verdict == "collapsed"
