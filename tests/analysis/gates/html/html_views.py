"""Gates, windows and saliency of single samples, with known numbers."""

from __future__ import annotations

import numpy as np

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, labels
from gatefuse_plugins.analysis.gates.individual import SampleGate, SampleGates
from gatefuse_plugins.analysis.moment_queries import MomentQuery
from gatefuse_plugins.recording.array_statistics import array_statistics

CLIPS = 20


def sample_gates(sample: Sample, taps: tuple[GateInfo, ...], width: int = 4) -> SampleGates:
    """Waves over ``CLIPS`` clips, channels spread evenly around them."""
    held = []
    for at, (gate, label) in enumerate(zip(taps, labels(taps), strict=True)):
        curve = 0.1 * at + 0.2 * np.sin(np.arange(CLIPS) / 3 + at)
        values = curve[:, None] + np.linspace(-0.1, 0.1, width)
        band = np.percentile(values, [10, 90], axis=1).T
        held.append(SampleGate(gate, label, values, "elementwise", curve, band, array_statistics(values)))
    return SampleGates(sample, tuple(held))


def moment_query(sample: Sample) -> MomentQuery:
    clips = np.arange(CLIPS)
    return MomentQuery(
        qid=sample.id,
        query=sample.query or "",
        vid=sample.vid or "",
        clip_length=2.0,
        unit="seconds",
        true_windows=np.array([[8.0, 20.0]]),
        windows=np.array([[7.0, 19.5, 0.91], [20.0, 30.0, 0.4], [2.0, 6.0, 0.1]]),
        saliency=np.sin(clips / 4.0),
        annotated=np.where((clips >= 4) & (clips < 10), 3.3, 0.0),
        off_topic=clips < 3,
        gates=(),
    )
