"""What the self-check found about a fusion, and which of it is a fault."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates import GateTap, gate_taps


@dataclass
class FusionCheck:
    """What one fusion was found to do.

    Attributes:
        name: registered name.
        parameters: number of parameters.
        input_shape, output_shape: of the stream being changed, (B, L, D).
        neutral_start: the freshly built fusion returns that stream unchanged.
        gradients: stream -> norm of d(sum of output * fixed noise)/d stream.
        gates: tap name -> (smallest, largest) value seen.
        sensitivity: mean |f(x, c1) - f(x, c2)| for two contexts.
        faults: what is wrong; empty where the fusion passes.
    """

    name: str
    parameters: int = 0
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    neutral_start: bool = False
    gradients: dict[str, float] = field(default_factory=dict)
    gates: dict[str, tuple[float, float]] = field(default_factory=dict)
    sensitivity: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """No fault was found."""
        return not self.faults


def find_faults(found: FusionCheck, fusion: Fusion, output: Tensor) -> list[str]:
    """Faults of a checked fusion whose parameters hold the gradients of ``output``."""
    faults = []
    expected = (*found.input_shape[:-1], getattr(fusion, "output_dim", found.input_shape[-1]))
    if found.output_shape != expected:
        faults.append(f"output shape {found.output_shape}, expected {expected}")
    if not torch.isfinite(output).all():
        faults.append("output is not finite")
    measured = {f"{key}_gradient": value for key, value in found.gradients.items()}
    for what, value in {**measured, "sensitivity": found.sensitivity}.items():
        if not 0 < value < float("inf"):
            faults.append(f"{what} is {value}, expected a finite value above 0")
    idle = [name for name, parameter in fusion.named_parameters() if parameter.grad is None]
    if idle:
        faults.append(f"parameters without gradient: {', '.join(idle)}")
    taps = dict(gate_taps(fusion))
    if fusion.gated and not taps:
        faults.append("no GateTap: its gates cannot be recorded")
    return faults + [fault for key, tap in taps.items() for fault in _tap_faults(key, tap, found.gates.get(key))]


def _tap_faults(key: str, tap: GateTap, seen: tuple[float, float] | None) -> list[str]:
    if seen is None:
        return [f"{key}: no value passed the tap"]
    low, high = float("-inf") if tap.low is None else tap.low, float("inf") if tap.high is None else tap.high
    if low <= seen[0] and seen[1] <= high:
        return []
    return [f"{key}: values {seen[0]:.3g}..{seen[1]:.3g} outside the declared range {low}..{high}"]
