"""Gate taps for live models whose classes are not ours: forks of QD-DETR-exp, SPRC and AVIGATE, and users' own."""

from gatefuse_plugins.checkpoints.legacy.adapt import AdaptedModel, adapt_legacy_model
from gatefuse_plugins.checkpoints.legacy.forks import FORKS, recognise_fork
from gatefuse_plugins.checkpoints.legacy.load import load_legacy_model_with_gate_tracking
from gatefuse_plugins.checkpoints.legacy.rules import GateRule

__all__ = [
    "FORKS",
    "AdaptedModel",
    "GateRule",
    "adapt_legacy_model",
    "load_legacy_model_with_gate_tracking",
    "recognise_fork",
]
