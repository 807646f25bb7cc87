"""Where a foreign model's gate values come out, said in data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.tap import TAP_KINDS

SQUASHES = ("tanh", "sigmoid")


@dataclass(frozen=True)
class GateRule:
    """One kind of gate value: which modules give it, and what it means.

    >>> dict(pattern="fusion.fusion_layers.*.gating_function", item=0, kind="attention", low=-1.0, high=1.0)

    Attributes:
        pattern: dotted glob over module names; every match gets a tap.
        kind: kind of the tap, likewise ``low``, ``high`` and ``neutral``: see
            :class:`~gatefuse_plugins.gates.tap.GateTap`.
        item: index (or key) of the gate in the module's output; ``None``: the output itself.
        squash: what the model's own code applies to the output before it is the gate, one of ``SQUASHES``.
        scale: name of a parameter beside the module by which that is then multiplied.
        mask: parameter names of an enclosing module's ``forward`` that hold the mask (B, L) of the gate's positions,
            nonzero = valid; the first that any enclosing module has is used. Empty for gates of whole samples.
        optional: the pattern may match nothing.

    Raises:
        ConfigError: an unknown kind or squash.
    """

    pattern: str
    kind: str
    item: int | str | None = None
    low: float | None = None
    high: float | None = None
    neutral: float = 0.0
    squash: str | None = None
    scale: str | None = None
    mask: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        for name, value, valid in (("kind", self.kind, TAP_KINDS), ("squash", self.squash or SQUASHES[0], SQUASHES)):
            if value not in valid:
                hint = suggestion(str(value), valid)
                raise ConfigError(f"gate rule {self.pattern!r}: {name} {value!r} is unknown{hint}")

    def to_gate(self, output: Tensor, scale: Tensor | None) -> Tensor:
        """The gate value that the model will make of the module's output; ``output`` itself without squash."""
        value = output if self.squash is None else getattr(torch, self.squash)(output)
        return value if scale is None else value * scale

    def from_gate(self, gate: Tensor, scale: Tensor | None) -> Tensor:
        """The output from which the model makes ``gate``, up to rounding; infinite at the ends of the range.

        Raises:
            ConfigError: no output gives this gate value.
        """
        value = gate if scale is None else gate / scale
        if self.squash is None:
            return value
        low = -1.0 if self.squash == "tanh" else 0.0
        if not ((value >= low) & (value <= 1.0)).all():
            raise ConfigError(
                f"gate rule {self.pattern!r}: a gate was set to a value that {self.squash} never gives; expected"
                f" {low:g} to 1{' times ' + self.scale if self.scale else ''}"
            )
        return torch.atanh(value) if self.squash == "tanh" else torch.logit(value)


def as_rule(entry: GateRule | Mapping[str, Any]) -> GateRule:
    """``entry``, or the rule that a config's dict describes.

    Raises:
        ConfigError: an unknown or missing key.
    """
    if isinstance(entry, GateRule):
        return entry
    known = [entry_field.name for entry_field in fields(GateRule)]
    for key in entry:
        if key not in known:
            raise ConfigError(f"gate rule {dict(entry)}: unknown key {key!r}{suggestion(str(key), known)}")
    if missing := {"pattern", "kind"} - set(entry):
        raise ConfigError(f"gate rule {dict(entry)}: {' and '.join(sorted(missing))} missing")
    mask = entry.get("mask", ())
    return GateRule(**{**entry, "mask": (mask,) if isinstance(mask, str) else tuple(mask)})
