"""Figures of tracked gates in the folder layout that users of QD-DETR-exp know (``gate_analysis_utils.py`` there)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.files import write_json
from gatefuse_plugins.recording.array_statistics import array_statistics, file_name
from gatefuse_plugins.recording.tracking import GateTracker

KINDS = {"attention": "attention_gates", "ffn": "ffn_gates"}


class GateAnalyzer:
    """Writes ``individual_samples/{id}_details.json`` and ``overall_statistics.json`` from a tracker's history.

    Subclasses extend :meth:`steps`, or override a step; each step may use ``results_dir``.

    Args:
        model: the tracker whose ``gate_history`` is analysed.
    """

    def __init__(self, model: GateTracker) -> None:
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
        return ["analyze_individual_samples", "analyze_overall_statistics"]

    def analyze_individual_samples(self, folder: Path) -> None:
        """A file for each sample."""
        for sample_id in self.model.gate_history:
            write_json(folder / "individual_samples" / f"{file_name(sample_id)}_details.json", self.details(sample_id))

    def details(self, sample_id: Any) -> dict[str, Any]:
        """What a sample's file holds; see :func:`array_statistics` for the figures of each gate."""
        held = self.model.sample(sample_id)
        layers = zip(*(held[key] for key in KINDS.values()), strict=True)
        return {
            "sample_id": sample_id,
            "gating_type": self.model.gating_type,
            "num_layers": len(held["layer_info"]),
            "layer_analysis": [
                {"layer_index": layer}
                | {f"{kind}_gate": array_statistics(gates) for kind, gates in zip(KINDS, pair, strict=True)}
                for layer, pair in enumerate(layers)
            ],
        }

    def analyze_overall_statistics(self, folder: Path) -> None:
        """One file over all samples."""
        write_json(folder / "overall_statistics.json", self.overall())

    def overall(self) -> dict[str, Any]:
        """Figures of each kind over all samples and layers, and mean and std of each kind by layer."""
        layers = max(len(held["layer_info"]) for held in self.model.gate_history.values())
        by_layer: dict[str, dict[str, Any]] = {str(layer): {} for layer in range(layers)}
        found: dict[str, Any] = {
            "total_samples": len(self.model.gate_history),
            "gating_type": self.model.gating_type,
            "num_layers": layers,
        }
        for kind, key in KINDS.items():
            found[key] = array_statistics(_joined(part for layer in range(layers) for part in self._gates(key, layer)))
            del found[key]["shape"]
            for layer in range(layers):
                figures = array_statistics(_joined(self._gates(key, layer)))
                by_layer[str(layer)] |= {f"{kind}_mean": figures["mean"], f"{kind}_std": figures["std"]}
        return found | {"layer_statistics": by_layer}

    def _gates(self, key: str, layer: int) -> Iterator[NDArray[np.float32]]:
        for held in self.model.gate_history.values():
            if layer < len(held[key]):
                yield held[key][layer].reshape(-1)


def _joined(parts: Iterator[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros(0, np.float32), *parts])
