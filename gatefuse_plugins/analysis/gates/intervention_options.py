"""What an intervention study tries, and on which gates together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatefuse_plugins.analysis.gates.bootstrap import RESAMPLES
from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.gate_profile import GateProfile
from gatefuse_plugins.recording.interventions import Intervention, Mean, Neutral, Open
from gatefuse_plugins.recording.shuffles import ShuffleSamples, ShuffleTime

INTERVENTIONS = ("neutral", "open", "mean", "shuffle_samples", "shuffle_time")
SCOPES = ("all", "kind", "layer", "gate")
"""On which gates together: all; those of a kind; of a layer; of a kind and layer."""


@dataclass(frozen=True)
class GateScope:
    """Gates that are acted on together; ``None``: of every kind, of every layer."""

    kind: str | None
    layer: int | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class StudyOptions:
    """
    Attributes:
        interventions: names of ``INTERVENTIONS``, or interventions of one's own.
        scopes: names of ``SCOPES``; gates that two scopes share are acted on once.
        select: dotted globs over tap names; ``None``: the gates of the fusion, or all where there is none of ours.
        metrics: figures to compare; ``None``: the primary ones.
        seed: of shuffles and bootstrap.
        resamples: of the bootstrap.
        not_samples: why rows of gate values are no samples that could be shuffled; empty where they are.

    Raises:
        ConfigError: an unknown intervention or scope.
    """

    interventions: Sequence[str | Intervention] = INTERVENTIONS
    scopes: Sequence[str] = SCOPES
    select: str | Sequence[str] | None = None
    metrics: Sequence[str] | None = None
    seed: int = 0
    resamples: int = RESAMPLES
    not_samples: str = ""

    def __post_init__(self) -> None:
        for what, given, valid in (("intervention", self.interventions, INTERVENTIONS), ("scope", self.scopes, SCOPES)):
            for name in given:
                if isinstance(name, str) and name not in valid:
                    raise ConfigError(f"{what} {name!r} is unknown{suggestion(name, valid)}")
        if not self.interventions or not self.scopes:
            raise ConfigError("no intervention or no scope is chosen; expected at least one of each")


def gate_scopes(taps: Mapping[str, GateTap], scopes: Sequence[str] = SCOPES) -> list[GateScope]:
    """The gates of each scope, wider scopes first; gates that were together before are not listed again."""
    kinds = list(dict.fromkeys(tap.kind for tap in taps.values()))
    layers = sorted({tap.layer for tap in taps.values() if tap.layer is not None})
    wanted: list[tuple[str | None, int | None]] = []
    wanted += [(None, None)] if "all" in scopes else []
    wanted += [(kind, None) for kind in kinds] if "kind" in scopes else []
    wanted += [(None, layer) for layer in layers] if "layer" in scopes else []
    wanted += [(kind, layer) for layer in layers for kind in kinds] if "gate" in scopes else []
    found: dict[tuple[str, ...], GateScope] = {}
    for kind, layer in wanted:
        names = tuple(
            name for name, tap in taps.items() if kind in (None, tap.kind) and (layer is None or tap.layer == layer)
        )
        if names:
            found.setdefault(names, GateScope(kind, layer, names))
    return list(found.values())


def build_interventions(options: StudyOptions, profiles: Mapping[str, GateProfile]) -> Iterator[Intervention]:
    """What is asked for, in that order; ``profiles`` come from a first pass over the data."""
    for chosen in options.interventions:
        if isinstance(chosen, Intervention):
            yield chosen
        elif chosen == "neutral":
            yield Neutral()
        elif chosen in ("mean", "open"):
            yield (Mean if chosen == "mean" else Open)(profiles)
        else:
            yield (ShuffleSamples if chosen == "shuffle_samples" else ShuffleTime)(options.seed, profiles)
