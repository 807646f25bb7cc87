"""Where taps go in a foreign model: computed whole before anything is placed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from gatefuse_plugins.checkpoints.legacy.rules import GateRule
from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.patterns import compile_pattern, match_names

# These run or list whatever lies in them, so a tap cannot lie there.
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Placement:
    """One tap to place.

    Attributes:
        rule: what the gate value means.
        gate: name of the module on whose output the tap listens.
        holder: name of the module that gets the tap as its attribute ``name``.
        mask: name of an enclosing module and the parameter of its ``forward`` that holds the mask.
    """

    rule: GateRule
    gate: str
    holder: str
    name: str
    mask: tuple[str, str] | None

    @property
    def tap(self) -> str:
        """Dotted name of the tap in the model."""
        return _join(self.holder, self.name)


def _join(holder: str, name: str) -> str:
    return f"{holder}.{name}" if holder else name


def plan_taps(model: nn.Module, rules: Sequence[GateRule]) -> list[Placement]:
    """Where the taps of ``rules`` go; the model is not touched.

    Raises:
        ConfigError, PatternError: see :func:`~gatefuse_plugins.checkpoints.legacy.adapt.adapt_legacy_model`.
    """
    modules = dict(model.named_modules())
    placements: dict[str, Placement] = {}
    for rule in rules:
        found = compile_pattern(rule.pattern)
        if rule.optional and not any(found.fullmatch(name) for name in modules):
            continue
        for gate in match_names(rule.pattern, modules, type(model).__name__):
            holder = _holder(gate, modules)
            names = (f"{rule.kind}_tap", f"{gate.rpartition('.')[2]}_{rule.kind}_tap")
            free = [
                name for name in names if not hasattr(modules[holder], name) and _join(holder, name) not in placements
            ]
            if not free:
                raise ConfigError(f"gate rule {rule.pattern!r}: {gate!r} has a {rule.kind} gate already")
            placement = Placement(rule, gate, holder, free[0], _mask_source(rule, gate, modules))
            placements[placement.tap] = placement
    if not placements:
        raise ConfigError(f"the rules name no gate of {type(model).__name__}; expected at least one that must match")
    return list(placements.values())


def _enclosing(name: str) -> list[str]:
    """``name`` and the names of all modules around it, innermost first, the root ('') last."""
    parts = name.split(".") if name else []
    return [".".join(parts[:length]) for length in range(len(parts), -1, -1)]


def _holder(gate: str, modules: Mapping[str, nn.Module]) -> str:
    for name in _enclosing(gate):
        if not isinstance(modules[name], _CONTAINERS):
            return name
    raise ConfigError(f"{gate!r} lies in containers only, which have no place for a tap; wrap the model in a module")


def _mask_source(rule: GateRule, gate: str, modules: Mapping[str, nn.Module]) -> tuple[str, str] | None:
    around = _enclosing(gate)
    for parameter in rule.mask:
        for name in around:
            if parameter in inspect.signature(modules[name].forward).parameters:
                return name, parameter
    if not rule.mask:
        return None
    known = {parameter for name in around for parameter in inspect.signature(modules[name].forward).parameters}
    raise ConfigError(
        f"gate rule {rule.pattern!r}: no module around {gate!r} takes {' or '.join(rule.mask)}"
        f"{suggestion(rule.mask[0], known)}"
    )
