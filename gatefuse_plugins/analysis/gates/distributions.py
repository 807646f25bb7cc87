"""How the values of each gate are distributed."""

from __future__ import annotations

from dataclasses import dataclass

from gatefuse_plugins.analysis.gates.data import GateInfo, labels
from gatefuse_plugins.analysis.gates.summary import Floats, GateSummary


@dataclass(frozen=True)
class GateDistribution:
    """
    Attributes:
        gate, label: the gate, and a short name unlike all others.
        edges: (65,) of the bins.
        shares: (64,) of the values, summing to 1; all 0 without values.
        mean, std: of all values; NaN without values.
        percentiles: (5,) at 5, 25, 50, 75, 95; NaN without values.
        saturated_low, saturated_high: fractions of values at either end of the range.
        entropy: of ``shares`` in nats, 0..ln(64).
        count: values.
    """

    gate: GateInfo
    label: str
    edges: Floats
    shares: Floats
    mean: float
    std: float
    percentiles: Floats
    saturated_low: float
    saturated_high: float
    entropy: float
    count: int


@dataclass(frozen=True)
class LayerDistributions:
    """
    Attributes:
        kinds: rows of a picture.
        layers: columns of a picture, ``None`` last.
        gates: in the model's order; a kind may be missing in a layer, and two gates may share kind and layer.
    """

    kinds: tuple[str, ...]
    layers: tuple[int | None, ...]
    gates: tuple[GateDistribution, ...]

    def at(self, kind: str, layer: int | None) -> list[GateDistribution]:
        """The gates of one kind and layer: none, one, or more."""
        return [one for one in self.gates if (one.gate.kind, one.gate.layer) == (kind, layer)]


def layer_distributions(summary: GateSummary) -> LayerDistributions:
    """Histogram and percentiles of each gate."""
    names = labels(summary.gates)
    gates = tuple(
        GateDistribution(
            gate=gate,
            label=names[at],
            edges=summary.edges[at],
            shares=summary.histogram[at],
            mean=float(summary.total_mean[at]),
            std=float(summary.total_std[at]),
            percentiles=summary.percentiles[at],
            saturated_low=float(summary.total_saturated_low[at]),
            saturated_high=float(summary.total_saturated_high[at]),
            entropy=float(summary.entropy[at]),
            count=int(summary.total_count[at]),
        )
        for at, gate in enumerate(summary.gates)
    )
    layers = sorted({gate.layer for gate in summary.gates}, key=lambda layer: (layer is None, layer or 0))
    return LayerDistributions(summary.kinds, tuple(layers), gates)
