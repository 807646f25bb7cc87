"""Tracking under the old names."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gated_models import Layered, gate_values
from torch import nn

from gatefuse_plugins.errors import DataError, GatefuseError
from gatefuse_plugins.recording.array_statistics import array_statistics, file_name
from gatefuse_plugins.recording.tracking import GateTracker


def tracked(*ids: Any) -> tuple[GateTracker, torch.Tensor]:
    model, values = Layered(), gate_values(len(ids))
    tracker = GateTracker(model)
    tracker.enable_gate_tracking()
    for row, one in enumerate(ids):
        tracker.set_current_sample_id(one)
        model(values[row : row + 1])
    tracker.disable_gate_tracking()
    return tracker, values


def test_history_has_the_old_layout() -> None:
    tracker, values = tracked("q1", "q2")
    assert not tracker.track_gates and tracker.current_sample_id == "q2"
    held = tracker.gate_history["q2"]
    assert np.array_equal(held["attention_gates"][1], (values[1:] / 2).numpy())
    assert held["ffn_gates"][0].shape == (1, 1, 1)
    assert held["sample_id"] == "q2" and len(held["layer_info"]) == 2
    assert tracker.gating_type == "elementwise"
    statistics = tracker.get_gate_statistics("q1")["q1"]
    assert statistics["attention_stats"][0]["mean"] == pytest.approx(values[0].mean().item())
    assert statistics["attention_stats"][0]["std"] == pytest.approx(values[0].std(correction=0).item())
    assert statistics["ffn_stats"][1]["shape"] == [1, 1, 1]
    assert list(tracker.get_gate_statistics()) == ["q1", "q2"]
    with pytest.raises(DataError, match="no gates of 'q3'; did you mean"):
        tracker.get_gate_statistics("q3")


def test_ids_of_batches_and_padding() -> None:
    model, values = Layered(), gate_values(2)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    tracker = GateTracker(model)
    tracker.enable_gate_tracking()
    tracker.set_current_sample_id(["a", "b"])
    model(values, mask)
    tracker.set_current_sample_id("both")
    model(values, mask)
    tracker.set_current_sample_id(["one"])
    with pytest.raises(GatefuseError, match="1 ids, and the batch 2"):
        model(values)
    tracker.disable_gate_tracking()
    assert np.array_equal(tracker.gate_history["b"]["attention_gates"][0], values[1:, :2].numpy())
    both = tracker.gate_history["both"]["attention_gates"][0]
    assert both.shape == (2, 5, 3) and np.isnan(both[1, 2:]).all() and not np.isnan(both[0]).any()
    joined = torch.cat([values[0].ravel(), values[1, :2].ravel()])
    mean = tracker.get_gate_statistics("both")["both"]["attention_stats"][0]["mean"]
    assert mean == pytest.approx(joined.mean().item())
    assert not model._forward_hooks


def test_samples_without_id_are_numbered_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = Layered()
    tracker = GateTracker(model)
    tracker.enable_gate_tracking()
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    from mmengine.logging import MMLogger

    handler = Keep(logging.WARNING)
    MMLogger.get_current_instance().addHandler(handler)
    try:
        model(gate_values(2))
        model(gate_values(1))
    finally:
        MMLogger.get_current_instance().removeHandler(handler)
        tracker.disable_gate_tracking()
    assert list(tracker.gate_history) == ["sample_0", "sample_1", "sample_2"]
    assert len(messages) == 1 and "set_current_sample_id" in messages[0]


def test_saving_printing_and_comparing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker, values = tracked("q1", "../q2")
    assert tracker.save_gate_analysis(tmp_path) == tmp_path / "gate_statistics_all.json"
    saved = json.loads((tmp_path / "gate_statistics_all.json").read_text())
    assert saved["q1"]["attention_stats"][1]["mean"] == pytest.approx(values[0].mean().item() / 2)
    path = tracker.save_gate_analysis(tmp_path, "../q2")
    assert path is not None and path.parent == tmp_path and path.exists()
    means = tracker.compare_samples_gates(["q1", "../q2"], tmp_path)
    assert means["q1"]["att_means"] == pytest.approx([values[0].mean().item(), values[0].mean().item() / 2])
    assert json.loads((tmp_path / "gate_comparison.json").read_text())["q1"] == means["q1"]
    tracker.print_gate_summary("q1")
    printed = capsys.readouterr().out
    assert "Sample q1" in printed and f"mean {values[0].mean().item():.4f}" in printed
    with pytest.raises(DataError, match="no gates of 'q9'"):
        tracker.compare_samples_gates(["q9"])


def test_nothing_tracked(tmp_path: Path) -> None:
    tracker = GateTracker(nn.Linear(2, 2))
    tracker.enable_gate_tracking()
    assert not tracker.track_gates and tracker.get_gate_statistics() is None
    assert tracker.save_gate_analysis(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_statistics_of_nothing_and_file_names() -> None:
    assert array_statistics(np.full((2, 2), np.nan))["mean"] is None
    assert array_statistics(np.zeros(0))["shape"] == [0]
    assert file_name("../../etc/passwd") == "%2F..%2Fetc%2Fpasswd"
    assert (file_name(""), file_name(12), len(file_name("x" * 999))) == ("_", "12", 150)
