"""How much of its range does a gate use? The example of a metric of one's own: see docs/analysis.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatefuse_plugins.analysis.gates.data import labels
from gatefuse_plugins.analysis.gates.summary import GateSummary
from gatefuse_plugins.recording.statistics import BINS
from gatefuse_plugins.registry import ANALYSES


@dataclass(frozen=True)
class GateEntropy:
    """
    Attributes:
        labels: (T) of the gates.
        entropy: (T) of the histogram in nats.
        normalised: (T) divided by ln(64): 0 for a constant, 1 for a gate that uses its range evenly.
    """

    labels: tuple[str, ...]
    entropy: tuple[float, ...]
    normalised: tuple[float, ...]


@ANALYSES.register_module(name="entropy")
def gate_entropy(summary: GateSummary) -> GateEntropy:
    """Entropy of each gate's values."""
    share = summary.entropy / math.log(BINS)
    return GateEntropy(tuple(labels(summary.gates)), tuple(summary.entropy.tolist()), tuple(share.tolist()))
