"""``GateAnalyzer`` of QD-DETR-exp (``gate_analysis_utils.py`` there): the report of gates that were tracked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, SampleId
from gatefuse_plugins.analysis.gates.individual import choose_samples, details, sample_gates
from gatefuse_plugins.analysis.gates.overall import overall_json, overall_statistics
from gatefuse_plugins.analysis.gates.report import build_report
from gatefuse_plugins.analysis.gates.summary import summarise
from gatefuse_plugins.analysis.gates.writing import write_report
from gatefuse_plugins.errors import ConfigError, DataError, suggestion
from gatefuse_plugins.recording.fusion_taps import fusion_taps
from gatefuse_plugins.recording.tracking import GateTracker

_NOTHING: NDArray[np.float32] = np.zeros((0, 0), np.float32)


class TrackedGateData:
    """Gates of a tracker's history; of two of a kind and layer the later one, which the history keeps."""

    def __init__(self, tracker: GateTracker) -> None:
        self.origin = f"tracked gates of {type(tracker.model).__name__}"
        self.samples: Sequence[Sample] = [Sample(one) for one in tracker.gate_history]
        self._history = tracker.gate_history
        latest = {(tap.kind, tap.layer or 0): name for name, tap in fusion_taps(tracker.model).items()}
        self.gates: Mapping[str, GateInfo] = {
            name: GateInfo(name, tap.kind, tap.layer, tap.low, tap.high, tap.neutral)
            for name, tap in fusion_taps(tracker.model).items()
            if name in latest.values()
        }

    def values(self, sample_id: SampleId, gate: str) -> NDArray[Any]:
        """See :meth:`GateData.values`; an id that stands for a batch has the positions of all its samples."""
        if sample_id not in self._history:
            raise DataError(
                f"{self.origin}: no sample {sample_id!r}{suggestion(str(sample_id), map(str, self._history))}"
            )
        info, layers = self.gates[gate], self._history[sample_id]
        held = layers.get(f"{info.kind}_gates", [])
        layer = info.layer or 0
        if layer >= len(held) or not held[layer].size:
            return _NOTHING
        values = held[layer].reshape(-1, *(held[layer].shape[2:] or (1,)))
        padding = np.isnan(values.reshape(len(values), -1)).all(axis=1) if len(held[layer]) > 1 else np.zeros(1, bool)
        return values[~padding] if padding.any() else values


class GateAnalyzer:
    """Writes the folder of :func:`~gatefuse_plugins.analysis.gates.writing.write_report` from a tracker's history.

    Subclasses extend :meth:`steps`, or override a step; each step may use ``results_dir``.

    Args:
        model: the tracker whose ``gate_history`` is analysed.

    Raises:
        ConfigError: a model instead of its tracker, which alone has a history.
    """

    def __init__(self, model: GateTracker) -> None:
        if not hasattr(model, "gate_history"):
            raise ConfigError(
                f"GateAnalyzer of a {type(model).__name__}: it has no history of gates; wrap it in GateTracker(model),"
                " record with enable_gate_tracking() first, and hand over the tracker"
            )
        self.model = model
        self.results_dir: Path | None = None

    def analyze_all_samples(self, save_dir: str | Path = "./gate_analysis") -> Path | None:
        """Run all steps; returns the folder, or ``None`` (and says so) where nothing was tracked."""
        if not self.model.gate_history:
            print("No gate data available. Make sure gate tracking is enabled.")
            return None
        self.results_dir = Path(save_dir)
        for step in self.steps():
            getattr(self, step)(self.results_dir)
        return self.results_dir

    def steps(self) -> list[str]:
        """Names of the methods that :meth:`analyze_all_samples` calls with the results' folder, in order."""
        return ["write_report"]

    def write_report(self, folder: Path) -> None:
        """Everything, with pictures of all samples."""
        data = TrackedGateData(self.model)
        individuals = tuple(sample_gates(data, sample) for sample in data.samples)
        write_report(folder, build_report(summarise(data), individuals=individuals))

    def details(self, sample_id: SampleId) -> dict[str, Any]:
        """What a sample's file holds."""
        data = TrackedGateData(self.model)
        (sample,) = choose_samples(data, 0, [str(sample_id)])
        return details(sample_gates(data, sample))

    def overall(self) -> dict[str, Any]:
        """Figures of each kind over all samples and layers, and of each gate."""
        return overall_json(overall_statistics(summarise(TrackedGateData(self.model))))
