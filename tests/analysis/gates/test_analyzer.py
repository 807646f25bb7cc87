"""The report of tracked gates, under the old system's names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gated_models import Layered, gate_values
from torch import nn

from gatefuse_plugins.analysis.gates.analyzer import GateAnalyzer, TrackedGateData
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.recording.tracking import GateTracker


def tracked(values: torch.Tensor, mask: torch.Tensor | None, *ids: object) -> GateTracker:
    tracker = GateTracker(Layered())
    tracker.enable_gate_tracking()
    tracker.set_current_sample_id(ids[0] if len(ids) == 1 else list(ids))
    tracker.model(values) if mask is None else tracker.model(values, mask)
    tracker.disable_gate_tracking()
    return tracker


def test_the_known_files_and_a_step_of_ones_own(tmp_path: Path) -> None:
    class Longest(GateAnalyzer):
        def steps(self) -> list[str]:
            return [*super().steps(), "longest"]

        def longest(self, folder: Path) -> None:
            rows = max(len(held["attention_gates"][0][0]) for held in self.model.gate_history.values())
            (folder / "longest.txt").write_text(str(rows))

    values = gate_values(2)
    assert Longest(tracked(values, None, "q1", "q2")).analyze_all_samples(tmp_path) == tmp_path
    overall = json.loads((tmp_path / "overall_statistics.json").read_text())
    joined = torch.cat([values, values / 2]).numpy()
    assert (overall["total_samples"], overall["gating_type"], overall["num_layers"]) == (2, "elementwise", 2)
    assert overall["attention_gates"]["mean"] == pytest.approx(joined.mean(), abs=1e-6)
    assert overall["attention_gates"]["median"] == pytest.approx(np.median(joined), rel=2**-10)
    assert overall["layer_statistics"]["1"]["attention_std"] == pytest.approx(values.numpy().std() / 2, abs=1e-6)
    details = json.loads((tmp_path / "individual_samples" / "q1_details.json").read_text())
    gate = details["layer_analysis"][0]["attention_gate"]
    assert gate["shape"] == [5, 3]
    assert gate["percentiles"]["95"] == pytest.approx(np.percentile(values[0].numpy(), 95), abs=1e-6)
    assert (tmp_path / "longest.txt").read_text() == "5" and (tmp_path / "report.html").exists()


def test_a_batch_under_one_id_loses_its_padding_alone() -> None:
    values, mask = gate_values(2), torch.tensor([[True] * 5, [True, True, False, False, False]])
    data = TrackedGateData(tracked(values, mask, "both"))
    name = next(iter(data.gates))
    joined = torch.cat([values[0], values[1, :2]]).numpy()
    assert np.array_equal(data.values("both", name), joined)
    with pytest.raises(DataError, match="no sample 'bot'; did you mean 'both'"):
        data.values("bot", name)


def test_nothing_tracked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert GateAnalyzer(GateTracker(nn.Linear(2, 2))).analyze_all_samples(tmp_path) is None
    assert "No gate data" in capsys.readouterr().out and list(tmp_path.iterdir()) == []


def test_a_model_is_no_tracker() -> None:
    with pytest.raises(ConfigError, match=r"GateAnalyzer of a Linear: .*wrap it in GateTracker\(model\)"):
        GateAnalyzer(nn.Linear(2, 2))  # type: ignore[arg-type]
