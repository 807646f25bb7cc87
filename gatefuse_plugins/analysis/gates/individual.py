"""The gates of single samples, values included."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.data import GateData, GateInfo, Sample, labels
from gatefuse_plugins.analysis.gates.overall import finite
from gatefuse_plugins.analysis.gates.summary import Floats
from gatefuse_plugins.analysis.gates.summary_stream import GRANULARITIES, granularity_of
from gatefuse_plugins.errors import DataError, nearest
from gatefuse_plugins.recording.array_statistics import array_statistics


@dataclass(frozen=True)
class SampleGate:
    """One gate in one sample.

    Attributes:
        gate, label: the gate, and a short name unlike all others.
        values: as :meth:`GateData.values` gives them: (1, 1), (L, 1), (L, D) or (H, 1, 1); empty where there is none.
        granularity: ``global``, ``clipwise``, ``elementwise``, ``headwise`` or ``none``.
        curve: (positions,) mean over channels, NaN where a position has no finite value.
        band: (positions, 2) 10th and 90th percentile over channels; equal to ``curve`` with one channel.
        statistics: see :func:`~gatefuse_plugins.recording.array_statistics.array_statistics`.
    """

    gate: GateInfo
    label: str
    values: NDArray[Any]
    granularity: str
    curve: Floats
    band: Floats
    statistics: dict[str, Any]


@dataclass(frozen=True)
class SampleGates:
    """All gates of one sample.

    Attributes:
        sample: the sample.
        gates: in the model's order, those without values included.
    """

    sample: Sample
    gates: tuple[SampleGate, ...]


def sample_gates(data: GateData, sample: Sample) -> SampleGates:
    """The gates of one sample.

    Raises:
        DataError: damaged data.
    """
    names = labels(list(data.gates.values()))
    gates = zip(data.gates.items(), names, strict=True)
    return SampleGates(sample, tuple(_gate(gate, label, data.values(sample.id, name)) for (name, gate), label in gates))


def _gate(gate: GateInfo, label: str, values: NDArray[Any]) -> SampleGate:
    rows = values.reshape(len(values), -1).astype(np.float64) if values.size else np.zeros((0, 0))
    curve, band = rows.mean(axis=1) if rows.size else np.zeros(0), np.zeros((0, 2))
    if rows.size and np.isfinite(curve).all():
        band = np.percentile(rows, [10, 90], axis=1).T
    elif rows.size:
        rows[~np.isfinite(rows)] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a position without a finite value is NaN, as it should
            curve, band = np.nanmean(rows, axis=1), np.nanpercentile(rows, [10, 90], axis=1).T
    return SampleGate(gate, label, values, granularity_of(values), curve, band, array_statistics(values))


def details(one: SampleGates) -> dict[str, Any]:
    """What ``individual_samples/{id}_details.json`` holds (keys of QD-DETR-exp's ``gate_analysis_utils.py``)."""
    layers: dict[int | None, dict[str, Any]] = {}
    for held in one.gates:
        row = layers.setdefault(held.gate.layer, {"layer_index": held.gate.layer})
        key = f"{held.gate.kind}_gate"
        row[held.gate.name if key in row else key] = held.statistics
    found = [held.granularity for held in one.gates]
    return {
        "sample_id": one.sample.id,
        "vid": one.sample.vid,
        "query": one.sample.query,
        "outcomes": {name: finite(value) for name, value in one.sample.outcomes.items()},
        "gating_type": max(found, key=GRANULARITIES.index, default="none"),
        "num_layers": len(layers),
        "layer_analysis": list(layers.values()),
    }


def choose_samples(
    data: GateData, count: int, ids: Sequence[str] = (), among: Sequence[Sample] | None = None
) -> list[Sample]:
    """The first ``count`` samples (-1: all) of ``among`` (default: of ``data``), and those of ``ids``, each once.

    Raises:
        DataError: names the ids that no sample has, each with the nearest.
    """
    by_id = {str(sample.id): sample for sample in data.samples}
    if unknown := [str(one) for one in ids if str(one) not in by_id]:
        near = (f"{one} (nearest: {', '.join(nearest(one, by_id, 1)) or 'none'})" for one in unknown)
        raise DataError(f"in none of the {len(by_id)} samples of {data.origin}: {', '.join(near)}")
    pool = data.samples if among is None else among
    first = pool if count == -1 else pool[:count]
    chosen = [*first, *(by_id[str(one)] for one in ids)]
    return list({str(sample.id): sample for sample in chosen}.values())
