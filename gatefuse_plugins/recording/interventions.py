"""What a gate's value can be replaced by: its neutral value, its mean, fully open. :mod:`intervene` does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.gate_profile import GateProfile
from gatefuse_plugins.recording.running_moments import align_mask

WITHOUT_OPENING = ("shift", "delta")
"""Kinds that give a direction and no opening."""


class Intervention:
    """What a gate's value is replaced by; subclasses for interventions of one's own override :meth:`replace`."""

    name: ClassVar[str] = "intervention"

    def start(self) -> None:
        """A scope begins; forget the one before."""

    def refusal(self, name: str, tap: GateTap) -> str | None:
        """Why this cannot be done to tap ``name``; ``None`` where it can."""
        return None

    def replace(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> Tensor:
        """The value that shall act instead of ``value`` (B, ...); same shape, dtype and device, never in place."""
        raise NotImplementedError


class Hold(Intervention):
    """Base of those that put a gate at one value, whatever the sample. Positions outside the mask keep theirs."""

    def level(self, name: str, tap: GateTap) -> Tensor | float:
        """A number, or a tensor that broadcasts over a value."""
        raise NotImplementedError

    def replace(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> Tensor:
        level = torch.as_tensor(self.level(name, tap), dtype=value.dtype, device=value.device)
        held = level.expand_as(value)
        return held.clone() if mask is None else torch.where(align_mask(mask, value), held, value)


class Neutral(Hold):
    """At the tap's neutral value, where the context changes nothing: 0 on a branch that the fusion adds, 1 on one that
    the host has (1 + tanh) and for the query gate."""

    name = "neutral"

    def level(self, name: str, tap: GateTap) -> float:
        return tap.neutral


class Profiled(Hold):
    """Base of those that need a first pass over the data.

    Args:
        profiles: by tap name, from :func:`~gatefuse_plugins.recording.gate_profile.profile_gates`.
    """

    def __init__(self, profiles: Mapping[str, GateProfile]) -> None:
        self.profiles = profiles

    def refusal(self, name: str, tap: GateTap) -> str | None:
        return None if name in self.profiles else "no value passed it in the first pass"


class Mean(Profiled):
    """At its mean over samples and positions, channel by channel: what is left is a fixed weight."""

    name = "mean"

    def level(self, name: str, tap: GateTap) -> Tensor:
        return self.profiles[name].mean


class Open(Profiled):
    """Fully open: at the upper end of its range; a query gate at the lower end, where the query is all text.

    An end without bound (a learned scale) is the furthest value that the first pass saw there. Shifts and deltas are
    directions: n/a.
    """

    name = "open"

    def refusal(self, name: str, tap: GateTap) -> str | None:
        if tap.kind in WITHOUT_OPENING:
            return f"a {tap.kind} is a direction and cannot be opened"
        bounded = tap.low is not None if tap.kind == "query" else tap.high is not None
        return None if bounded else super().refusal(name, tap)

    def level(self, name: str, tap: GateTap) -> float:
        if tap.kind == "query":
            return self.profiles[name].minimum if tap.low is None else tap.low
        return self.profiles[name].maximum if tap.high is None else tap.high
