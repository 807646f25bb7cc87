"""What a first pass over the data must know of every gate before a gate can be frozen at its mean or opened wide."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.recorder import EVERYTHING, find_taps
from gatefuse_plugins.recording.running_moments import align_mask, wide_dtype
from gatefuse_plugins.recording.tap_hooks import refuse_compiled, tap_mask, warn_if_silent


@dataclass(frozen=True)
class GateProfile:
    """One gate over a data set, padded positions left out.

    Attributes:
        mean: over samples and positions, one number a channel or head; it broadcasts over a value: () or (1,) for
            global and clipwise gates, (D,) elementwise, (H, 1, 1) headwise.
        minimum, maximum: over all values.
        has_positions: gives values along clips or tokens, not one a sample.
        count: values that were seen.
    """

    mean: Tensor
    minimum: float
    maximum: float
    has_positions: bool
    count: int

    @property
    def varies(self) -> bool:
        """Were two values of this gate ever different?"""
        return self.maximum > self.minimum


class _Running:
    """Sums of one gate, on the gate's device."""

    def __init__(self) -> None:
        self.has_positions = False
        self.total: Tensor | None = None
        self.count: Tensor | None = None
        self.bounds: Tensor | None = None
        self.strange: Tensor | None = None

    @torch.no_grad()
    def update(self, value: Tensor, mask: Tensor | None) -> None:
        value = value.detach()
        value = value.reshape(1) if value.dim() == 0 else value
        if not value.numel():
            return
        wide = wide_dtype(value)
        axes = (0, 1) if value.dim() == 3 else (0,)
        valid = torch.ones_like(value, dtype=torch.bool) if mask is None else align_mask(mask, value).expand_as(value)
        kept = value.to(wide).where(valid, 0)
        bounds = torch.stack([-value.where(valid, torch.inf).amin(), value.where(valid, -torch.inf).amax()]).to(wide)
        strange = (~kept.isfinite()).sum()
        total, count = kept.sum(dim=axes), valid.sum(dim=axes)
        if self.total is None:
            self.total, self.count, self.bounds, self.strange = total, count, bounds, strange
        else:
            self.total, self.count = self.total + total, self.count + count
            self.bounds, self.strange = torch.maximum(self.bounds, bounds), self.strange + strange
        self.has_positions = self.has_positions or (value.dim() == 3 and value.shape[1] > 1)

    def profile(self, name: str) -> GateProfile | None:
        if self.total is None or self.count is None or self.bounds is None or self.strange is None:
            return None
        if strange := int(self.strange):
            raise DataError(
                f"gate {name} gave {strange} values that are NaN or infinite; expected finite ones: weights or input"
                " are broken, and no intervention can be measured"
            )
        if not (count := int(self.count.sum())):
            return None
        low, high = self.bounds.tolist()
        return GateProfile(self.total / self.count.clamp(min=1), -low, high, self.has_positions, count)


class GateProfiles:
    """Profiles of a scope; ask after it, or inside it for what came so far."""

    def __init__(self, taps: dict[str, GateTap]) -> None:
        self.taps = taps
        self.passed = False
        self._running = {name: _Running() for name in taps}

    def observe(self, name: str, value: Tensor, mask: Tensor | None) -> None:
        """Take in one value of tap ``name``."""
        self.passed = True
        self._running[name].update(value, mask)

    def result(self) -> dict[str, GateProfile]:
        """By tap name, in the model's order; a gate that gave no valid value is left out.

        Raises:
            DataError: a gate gave NaN or an infinite value.
        """
        found = {name: running.profile(name) for name, running in self._running.items()}
        return {name: profile for name, profile in found.items() if profile is not None}


@contextlib.contextmanager
def profile_gates(model: nn.Module, select: str | Sequence[str] = EVERYTHING) -> Iterator[GateProfiles]:
    """Collect :class:`GateProfile` of every matched tap for the length of the block; outputs stay bit-identical.

    Unlike a recording it also takes in what passes outside a forward of ``model`` (a scorer of pairs). Where no value
    passed any gate, a warning says so at the end.

    Raises:
        PatternError: an explicit selection is malformed or matches no tap.
        GatefuseError: a part that holds a matched tap is compiled.
    """
    profiles = GateProfiles(find_taps(unwrapped(model), select))
    refuse_compiled(model, profiles.taps)
    with contextlib.ExitStack() as hooks:
        for name, tap in profiles.taps.items():
            hooks.callback(tap.register_forward_hook(_listen(name, profiles), with_kwargs=True).remove)
        yield profiles
    warn_if_silent(profiles.passed, len(profiles.taps), "profile_gates")


def _listen(name: str, profiles: GateProfiles) -> Any:
    @torch._dynamo.disable
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        profiles.observe(name, output, tap_mask(args, kwargs))

    return hook
