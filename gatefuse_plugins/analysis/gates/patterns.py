"""How gates differ between samples and layers, and along a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gatefuse_plugins.analysis.gates.data import GateInfo, SampleId
from gatefuse_plugins.analysis.gates.overall import between_samples, mean_over_samples
from gatefuse_plugins.analysis.gates.summary import Floats, GateSummary


@dataclass(frozen=True)
class KindPattern:
    """The gates of one kind.

    Attributes:
        kind: of the gates.
        gates: K gates of that kind, in the model's order.
        labels: (K) short names: ``layer 0``, or the tap's name where layers repeat.
        means: (S, K) mean of each sample; NaN where it has no value.
        sample_means: (S,) mean over the K gates, NaN left out.
        layer_means, layer_stds: (K,) over samples of ``means``.
        time_profile: (K, 75) mean at relative time; NaN where not applicable.
        neutral, low, high: of the first gate of the kind.
    """

    kind: str
    gates: tuple[GateInfo, ...]
    labels: tuple[str, ...]
    means: Floats
    sample_means: Floats
    layer_means: Floats
    layer_stds: Floats
    time_profile: Floats
    neutral: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ActivationPatterns:
    """
    Attributes:
        sample_ids: (S).
        kinds: one pattern for each kind.
        sample_means: (S,) mean over all gates, NaN where a sample has none.
        top, bottom: at most ``count`` places of samples with the largest and smallest ``sample_means``, the extreme
            first; samples without values are in neither.
        time_std: (T,) mean over samples of the standard deviation along a sample.
        between_std: (T,) standard deviation over samples of their means.
    """

    sample_ids: tuple[SampleId, ...]
    kinds: tuple[KindPattern, ...]
    sample_means: Floats
    top: tuple[int, ...]
    bottom: tuple[int, ...]
    time_std: Floats
    between_std: Floats


def activation_patterns(summary: GateSummary, count: int = 10) -> ActivationPatterns:
    """Means by sample and gate, and the samples whose gates are most open and most closed."""
    sample_means = _mean_of_gates(summary.mean)
    order = np.argsort(sample_means, kind="stable")  # NaN last
    order = order[: int(np.isfinite(sample_means).sum())]
    return ActivationPatterns(
        sample_ids=tuple(sample.id for sample in summary.samples),
        kinds=tuple(_kind_pattern(summary, kind) for kind in summary.kinds),
        sample_means=sample_means,
        top=tuple(order[::-1][:count].tolist()),
        bottom=tuple(order[:count].tolist()),
        time_std=mean_over_samples(summary.time_std),
        between_std=between_samples(summary),
    )


def _kind_pattern(summary: GateSummary, kind: str) -> KindPattern:
    places = summary.of_kind(kind)
    gates = tuple(summary.gates[at] for at in places)
    means, layers = summary.mean[:, places], [gate.layer for gate in gates]
    return KindPattern(
        kind=kind,
        gates=gates,
        labels=tuple(
            gate.name if gate.layer is None or layers.count(gate.layer) > 1 else f"layer {gate.layer}" for gate in gates
        ),
        means=means,
        sample_means=_mean_of_gates(means),
        layer_means=mean_over_samples(means),
        layer_stds=between_samples(summary)[places],
        time_profile=summary.time_profile[places],
        neutral=gates[0].neutral,
        low=gates[0].low,
        high=gates[0].high,
    )


def _mean_of_gates(means: Floats) -> Floats:
    """(S,) of (S, K), NaN left out."""
    return mean_over_samples(means.T)
