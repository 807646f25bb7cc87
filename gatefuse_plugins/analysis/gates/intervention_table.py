"""What interventions on gates did to the metrics: a row each, with its interval and one sentence of reading."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatefuse_plugins.analysis.gates.intervention_reading import describe_gates, figure
from gatefuse_plugins.files import atomic_writer, plain, write_json


@dataclass(frozen=True)
class InterventionRow:
    """One intervention on some gates, and one metric.

    Attributes:
        intervention: ``neutral``, ``open``, ``mean``, ``shuffle_samples``, ``shuffle_time``, or one's own.
        kind, layer: the gates that were acted on; ``None``: of every kind, of every layer.
        gates: their tap names.
        metric: its name.
        baseline, value: mean over samples without and with the intervention; NaN where not applicable.
        change: ``value - baseline``.
        low, high: 95 % confidence interval of ``change``; NaN where not applicable, or with fewer than two groups.
        moved: mean absolute change of the gates' values.
        samples, groups: what the interval rests on.
        applicable: whether it could be done at all.
        meaning: what the change says, a clause; where not applicable, why.
        sentence: the whole row in words.
    """

    intervention: str
    kind: str | None
    layer: int | None
    gates: tuple[str, ...]
    metric: str
    baseline: float
    value: float
    change: float
    low: float
    high: float
    moved: float
    samples: int
    groups: int
    applicable: bool
    meaning: str
    sentence: str

    @property
    def where(self) -> str:
        """``attention gates of layer 0``, ``all gates``."""
        return describe_gates(self.kind, self.layer)

    @property
    def shown(self) -> bool:
        """Does the whole interval lie on one side of 0?"""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class OffTopicGate:
    """A gate against the known off-topic mask of an embedded event set.

    Attributes:
        gate: tap name.
        kind, layer: of the tap.
        auc: probability that the gate stands further open where the audio belongs to the picture; 0.5: knows nothing.
    """

    gate: str
    kind: str
    layer: int | None
    auc: float


@dataclass(frozen=True)
class InterventionTable:
    """
    Attributes:
        rows: by intervention, gates, metric.
        metrics: names of the metrics, most telling first.
        unit: of changes: ``points`` or the empty string.
        samples: of the data set.
        groups: groups (videos, reference images) that samples fall into; intervals are over these.
        resamples, seed: of the bootstrap.
        off_topic: empty unless the data set is embedded events.
        off_topic_paragraph: what these mean; empty likewise.
    """

    rows: tuple[InterventionRow, ...]
    metrics: tuple[str, ...]
    unit: str
    samples: int
    groups: int
    resamples: int
    seed: int
    off_topic: tuple[OffTopicGate, ...] = ()
    off_topic_paragraph: str = ""

    def row(
        self, intervention: str, kind: str | None = None, layer: int | None = None, metric: str | None = None
    ) -> InterventionRow | None:
        """The row of these gates (of all gates by default) and metric (the most telling), if there is one."""
        wanted = (intervention, kind, layer, metric or self.metrics[0])
        return next((row for row in self.rows if (row.intervention, row.kind, row.layer, row.metric) == wanted), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; what is NaN is None."""
        return dict(plain(self))

    def to_markdown(self) -> str:
        """A table for each metric, and how it was made."""
        spread = f"{self.samples:,} samples" + (f" in {self.groups:,} groups" if self.groups != self.samples else "")
        parts = [
            "# Interventions: what the gates are worth",
            f"Gates were put at other values and the data set was evaluated again: {spread}. Change: with the"
            " intervention minus without. Interval: 95 %, paired bootstrap"
            f" of {self.resamples:,} resamples (seed {self.seed}), samples of one video or reference drawn together."
            " Moved: mean absolute change of the gates' values. Each interval stands for itself: where nothing has an"
            " effect, about one row in twenty still excludes 0.",
        ]
        for metric in self.metrics:
            parts += [f"## {metric}", self.metric_markdown(metric)]
        if self.off_topic_paragraph:
            parts += ["## Gates and the off-topic mask", self.off_topic_paragraph]
        return "\n\n".join(parts) + "\n"

    def metric_markdown(self, metric: str) -> str:
        """The table of one metric."""
        rows = [row for row in self.rows if row.metric == metric]
        lines = [
            "| intervention | gates | moved | value | change | 95 % interval | reading |",
            "|---|---|---:|---:|---:|---:|---|",
        ]
        for row in rows:
            cells = ["n/a"] * 4
            if row.applicable:
                low, high, change = (figure(value, self.unit, "+") for value in (row.low, row.high, row.change))
                interval = "n/a" if math.isnan(row.low) else f"{low} to {high}"
                cells = [f"{row.moved:.3g}", figure(row.value, self.unit), change, interval]
            lines.append(" | ".join([f"| {row.intervention}", row.where, *cells, f"{row.meaning} |"]))
        return "\n".join(lines)

    def write(self, folder: Path) -> list[Path]:
        """``interventions.md`` and ``interventions.json`` in ``folder``, whole or not at all."""
        paths = [folder / "interventions.md", folder / "interventions.json"]
        with atomic_writer(paths[0], "w") as stream:
            stream.write(self.to_markdown())
        write_json(paths[1], self.to_dict())
        return paths
