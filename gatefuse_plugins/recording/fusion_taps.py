"""The taps that a per-sample log is about."""

from __future__ import annotations

from torch import nn

from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.tap import GateTap, gate_taps


def fusion_taps(model: nn.Module) -> dict[str, GateTap]:
    """By dotted name: the taps of the model's fusions; of a model without a fusion of ours (an adapted one), all taps.

    Gates on a host's own layers number those layers, not the fusion's: side by side the two would be mixed up.
    """
    everything = dict(gate_taps(model))
    fusions = [name for name, module in model.named_modules() if isinstance(module, Fusion)]
    inside = {
        name: tap
        for name, tap in everything.items()
        if any(not fusion or name.startswith(f"{fusion}.") for fusion in fusions)
    }
    return inside or everything


def gating_type(model: nn.Module) -> str | None:
    """What a fusion calls its own granularity; ``None`` where it does not say."""
    named = (getattr(module, "gating_type", None) for module in model.modules())
    return next((name for name in named if isinstance(name, str)), None)
