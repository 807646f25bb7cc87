"""How far two models are apart, output by output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TOLERANCE = 1e-5  # relative to the largest output, and absolute below 1: float32, other order of summation
Outputs = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Comparison:
    """How far two models are apart.

    Attributes:
        differences: largest difference by output (``padded/pred_spans``).
        scales: largest finite absolute value of the old model by output; NaN where there is none.
        frozen: parts that were compared weight by weight, each with the number of tensors that differ.
        informative: differences that a choice of the config causes, not the migration; with the reason.
    """

    differences: dict[str, float]
    scales: dict[str, float]
    frozen: dict[str, int] = field(default_factory=dict)
    informative: dict[str, float] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """No output differs by more than rounding, no frozen weight at all, and there was something to compare."""
        if self.empty:
            return False
        close = (value <= TOLERANCE * max(1.0, self.scales[name]) for name, value in self.differences.items())
        return all(close) and not any(self.frozen.values())

    @property
    def empty(self) -> bool:
        """Whether no output of the old model has a finite value, so that equal outputs would tell nothing."""
        return all(math.isnan(scale) for scale in self.scales.values())

    @property
    def largest(self) -> float:
        """The largest difference of all outputs."""
        return max(self.differences.values())

    def lines(self) -> list[str]:
        """The comparison in words, a line an output."""
        lines = [f"{name}: {value:.3g} of {self.scales[name]:.3g}" for name, value in self.differences.items()]
        lines += [f"{name}: {count or 'no'} weights differ" for name, count in self.frozen.items()]
        lines += ["nothing finite to compare"] if self.empty else []
        return lines + [f"{name}: {value:.3g}" for name, value in self.informative.items()]

    def to_json(self) -> dict[str, Any]:
        """As plain data; NaN and infinity as text."""
        numbers = {name: value if value < float("inf") else str(value) for name, value in self.differences.items()}
        return {"equal": self.equal, "largest_difference": numbers, "frozen": self.frozen}


def measure(old: Outputs, new: Outputs) -> tuple[dict[str, float], dict[str, float]]:
    """Largest difference, and largest absolute value of ``old``, by ``batch/output``; batches that ``old`` has."""
    pairs = {f"{kind}/{name}": (value, new[kind][name]) for kind in old for name, value in old[kind].items()}
    distances = {name: distance(*pair) for name, pair in pairs.items()}
    return distances, {name: _largest(value) for name, (value, _new) in pairs.items()}


def _largest(value: Tensor) -> float:
    finite = value[value.isfinite()]
    return float(finite.abs().max()) if finite.numel() else math.nan


def distance(old: Tensor, new: Tensor) -> float:
    """Largest absolute difference; NaN in both is none, NaN in one is infinite."""
    if old.shape != new.shape:
        return float("inf")
    difference = (old.double() - new.double()).abs()
    difference = torch.where(old.isnan() & new.isnan(), 0.0, difference)
    return float(difference.nan_to_num(nan=float("inf")).max()) if difference.numel() else 0.0
