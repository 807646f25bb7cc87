"""Statistics of groups of taps: of one tap over all ranks, of a kind, of a layer, of everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.running_moments import combine
from gatefuse_plugins.recording.statistics import TapStatistics, distribution, figures
from gatefuse_plugins.recording.subsample import Drawn

GROUPS = ("tap", "kind", "layer", "all")


@dataclass(frozen=True)
class TapShare:
    """What one rank knows of one tap, without the tap: it travels between processes.

    Attributes:
        state: of :class:`~gatefuse_plugins.recording.running_moments.RunningMoments`.
        drawn: a subsample; ``None``: none was taken.
    """

    name: str
    kind: str
    layer: int | None
    low: float | None
    high: float | None
    neutral: float
    state: list[float]
    drawn: Drawn | None

    @classmethod
    def of(cls, name: str, tap: GateTap, state: list[float], drawn: Drawn | None) -> TapShare:
        return cls(name, tap.kind, tap.layer, tap.low, tap.high, tap.neutral, state, drawn)

    def group(self, by: str) -> str:
        layer = "-" if self.layer is None else str(self.layer)
        return {"tap": self.name, "kind": self.kind, "layer": layer, "all": "all"}[by]


def group_statistics(shares: Sequence[TapShare], by: str) -> dict[str, TapStatistics]:
    """By group (one of ``GROUPS``): exact figures of the union, quantiles from the subsamples weighted by count."""
    groups: dict[str, list[TapShare]] = {}
    for share in shares:
        groups.setdefault(share.group(by), []).append(share)
    return {name: _pooled(members) for name, members in groups.items()}


def _pooled(members: list[TapShare]) -> TapStatistics:
    """Kinds are joined by ``+`` where they differ; a layer that differs is None, as is an open end of any range."""
    state = combine(torch.tensor([member.state for member in members], dtype=torch.float64)).tolist()
    lows, highs = [member.low for member in members], [member.high for member in members]
    low = None if None in lows else min(value for value in lows if value is not None)
    high = None if None in highs else max(value for value in highs if value is not None)
    layers = {member.layer for member in members}
    drawn = [(member.drawn, int(member.state[0])) for member in members if member.drawn is not None]
    return TapStatistics(
        kind="+".join(dict.fromkeys(member.kind for member in members)),
        layer=layers.pop() if len(layers) == 1 else None,
        low=low,
        high=high,
        neutral=members[0].neutral,
        **figures(state),
        **distribution(drawn, low, high),
    )
