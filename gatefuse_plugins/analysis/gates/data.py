"""Gates of single samples, wherever they come from: what every analysis starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from gatefuse_plugins.patterns import match_names

SampleId = int | str


@dataclass(frozen=True)
class GateInfo:
    """One gate of a model; see :class:`~gatefuse_plugins.gates.tap.GateTap`.

    Attributes:
        name: dotted name of its tap.
        kind: one of ``TAP_KINDS``.
        layer: 0-based; ``None`` for a gate that belongs to no layer.
        low, high: infimum and supremum of its range, ``None`` where unbounded.
        neutral: the value at which the context changes nothing.
    """

    name: str
    kind: str
    layer: int | None
    low: float | None
    high: float | None
    neutral: float

    @property
    def label(self) -> str:
        """Short name for titles: ``attention, layer 0``. Two gates may share one; see :func:`labels`."""
        return self.kind if self.layer is None else f"{self.kind}, layer {self.layer}"


@dataclass(frozen=True)
class Sample:
    """One sample of the data set.

    Attributes:
        id: as recorded; unique within one source.
        vid: the video, or the reference image; ``None`` where unknown.
        query: text that goes with it; ``None`` where unknown.
        outcomes: how well the model did on it, by name, such as ``IoU``, ``R1@0.5``, ``rank``, ``saliency AP``;
            empty where unknown. A name may be missing in some samples.
    """

    id: SampleId
    vid: str | None = None
    query: str | None = None
    outcomes: Mapping[str, float] = field(default_factory=dict)


class GateData(Protocol):
    """Gate values of many samples.

    Attributes:
        gates: by name, in the model's order.
        samples: in the order of recording.
        origin: one line: which log, store, or checkpoint on which data set; whether an embedded set.
    """

    @property
    def gates(self) -> Mapping[str, GateInfo]: ...

    @property
    def samples(self) -> Sequence[Sample]: ...

    @property
    def origin(self) -> str: ...

    def values(self, sample_id: SampleId, gate: str) -> NDArray[Any]:
        """Values of one gate in one sample, float16 or float32, padding cut off.

        (1, 1) for a global gate, (L, 1) clipwise, (L, D) elementwise, (H, 1, 1) headwise; (0, 0) where the sample has
        none. Reading samples one after the other is fast.

        Raises:
            DataError: no such sample or gate, or damaged data.
        """
        ...


@dataclass(frozen=True)
class SelectedGates:
    """Some gates of another source, with all its samples; see :func:`select_gates`."""

    source: GateData
    gates: Mapping[str, GateInfo]

    @property
    def samples(self) -> Sequence[Sample]:
        return self.source.samples

    @property
    def origin(self) -> str:
        return self.source.origin

    def values(self, sample_id: SampleId, gate: str) -> NDArray[Any]:
        """See :meth:`GateData.values`."""
        return self.source.values(sample_id, gate)


def select_gates(data: GateData, select: Sequence[str]) -> SelectedGates:
    """The gates of ``data`` whose names match a dotted glob of ``select``.

    Raises:
        PatternError: a pattern is malformed or matches no gate.
    """
    chosen = {name for pattern in select for name in match_names(pattern, data.gates, f"the gates of {data.origin}")}
    return SelectedGates(data, {name: gate for name, gate in data.gates.items() if name in chosen})


def labels(gates: Sequence[GateInfo]) -> list[str]:
    """A short name for each gate, unlike all others: the kind and layer, or the tap's name where two share these."""
    short = [gate.label for gate in gates]
    return [gate.name if short.count(label) > 1 else label for gate, label in zip(gates, short, strict=True)]
