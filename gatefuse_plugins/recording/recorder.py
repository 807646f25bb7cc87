"""Scoped recorder of gate values: statistics of every matched tap, reduced where the values are.

>>> with record_gates(model, "**.gate_tap") as gates:
...     model(batch)
>>> gates.summary()["fusion.gate_tap"].mean
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.gates.tap import GateTap, gate_taps
from gatefuse_plugins.patterns import compile_pattern, match_names
from gatefuse_plugins.recording.moments import Moments

EVERYTHING = "**"


@dataclass(frozen=True)
class TapStatistics:
    """Statistics of the valid values that passed one tap.

    ``std`` is the population's. ``saturated_low`` and ``saturated_high`` are the fractions of values within 2 % of
    the range from its lower and upper end (0 for an open range). ``count`` is 0, and the figures are NaN, where every
    value was masked.
    """

    kind: str
    layer: int | None
    low: float | None
    high: float | None
    neutral: float
    count: int
    mean: float
    std: float
    minimum: float
    maximum: float
    saturated_low: float
    saturated_high: float

    @property
    def saturated(self) -> float:
        """Fraction of values near either end of the range."""
        return self.saturated_low + self.saturated_high

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def figures(state: Sequence[float]) -> dict[str, Any]:
    """``count, mean, std, minimum, maximum, saturated_low, saturated_high`` of a ``Moments.state`` on the host."""
    count, mean, m2, minimum, maximum, near_low, near_high = state
    if count == 0:
        empty = ("mean", "std", "minimum", "maximum", "saturated_low", "saturated_high")
        return {"count": 0, **dict.fromkeys(empty, math.nan)}
    return {
        "count": int(count),
        "mean": mean,
        "std": math.sqrt(m2 / count),
        "minimum": minimum,
        "maximum": maximum,
        "saturated_low": near_low / count,
        "saturated_high": near_high / count,
    }


class GateRecording:
    """What :func:`record_gates` yields: one accumulator for each matched tap.

    Args:
        taps: name to tap, in the model's order.
    """

    def __init__(self, taps: dict[str, GateTap]) -> None:
        self.taps = taps
        self._moments = {name: Moments(tap.low, tap.high) for name, tap in taps.items()}

    @property
    def names(self) -> list[str]:
        """Names of the taps that are listened to, whether or not a value has passed them."""
        return list(self.taps)

    def observe(self, name: str, value: Tensor, mask: Tensor | None) -> None:
        """Take in one value of tap ``name``; override or extend to keep more than statistics."""
        self._moments[name].update(value, mask)

    def summary(self) -> dict[str, TapStatistics]:
        """Statistics by tap name so far; a tap that no value passed is left out. One transfer for each device.

        May be asked inside the scope (the figures so far) and after it.
        """
        return {
            name: TapStatistics(
                kind=self.taps[name].kind,
                layer=self.taps[name].layer,
                low=self.taps[name].low,
                high=self.taps[name].high,
                neutral=self.taps[name].neutral,
                **figures(state),
            )
            for name, state in fetch_states(self._moments).items()
        }


def fetch_states(moments: dict[str, Moments]) -> dict[str, list[float]]:
    """States of all accumulators that saw a value, brought to the host with one transfer for each device."""
    by_device: dict[torch.device, dict[str, Tensor]] = {}
    for name, moment in moments.items():
        if moment.state is not None:
            by_device.setdefault(moment.state.device, {})[name] = moment.state
    fetched: dict[str, list[float]] = {}
    for states in by_device.values():
        fetched.update(zip(states, torch.stack(list(states.values())).tolist(), strict=True))
    return {name: fetched[name] for name in moments if name in fetched}


def find_taps(model: nn.Module, select: str | Sequence[str] = EVERYTHING) -> dict[str, GateTap]:
    """Taps of ``model`` whose names match a pattern of ``select``, in the model's order.

    ``'**'`` asks for whatever there is, so a model without taps gives an empty dict.

    Raises:
        PatternError: a pattern is malformed, or (other than ``'**'``) matches no tap.
    """
    taps = dict(gate_taps(model))
    chosen: set[str] = set()
    for pattern in [select] if isinstance(select, str) else select:
        compile_pattern(pattern)
        if pattern == EVERYTHING:
            return taps
        chosen.update(match_names(pattern, taps, host=f"the gate taps of {type(model).__name__}"))
    return {name: tap for name, tap in taps.items() if name in chosen}


@contextlib.contextmanager
def record_gates(model: nn.Module, select: str | Sequence[str] = EVERYTHING) -> Iterator[GateRecording]:
    """Record statistics of gate values for the length of the ``with`` block.

    Forward hooks sit on the matched taps and are removed on the way out, also on an error. Values are detached and
    reduced on their own device, padded positions (the tap's mask) left out; outputs, gradients and the random state
    stay bit-identical. Scopes nest, works in train mode and under autocast. A model that ``torch.compile`` has
    already traced may skip hooks that come later: record the uncompiled module.

    Args:
        model: any module that holds :class:`GateTap` modules.
        select: dotted glob or globs over tap names; ``'**'`` takes every tap there is, if any.

    Raises:
        PatternError: an explicit selection is malformed or matches no tap.
    """
    recording = GateRecording(find_taps(model, select))
    with contextlib.ExitStack() as hooks:
        for name, tap in recording.taps.items():
            hooks.callback(_listen(tap, name, recording).remove)
        yield recording


def _listen(tap: GateTap, name: str, recording: GateRecording) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        recording.observe(name, output, args[1] if len(args) > 1 else kwargs.get("mask"))

    return tap.register_forward_hook(hook, with_kwargs=True)
