"""Gates inside a host's own layers, placed by name pattern."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from gatefuse_plugins.errors import ConfigError, PatternError, suggestion
from gatefuse_plugins.patterns import match_names
from gatefuse_plugins.registry import GATES

BRANCHES = ("attention", "ffn")
DEFAULT_GATE = {"type": "ResidualGate"}


@dataclass(frozen=True)
class PlacedGate:
    """One gate of a plan: ``layer`` is the dotted name of the host's layer, ``gate`` the gate's complete config."""

    layer: str
    branch: str
    gate: dict[str, Any]


def place_layer_gates(model: nn.Module, rules: Sequence[Mapping[str, Any]], dim: int | None = None) -> list[PlacedGate]:
    """Put gates on residual branches of chosen layers.

    A layer offers its branches through the attributes ``attention_gate`` and ``ffn_gate``, ``None`` at first; it passes
    the branch's value through ``gate(branch, mask)`` before adding it. All rules are checked before the first gate is
    placed, so a faulty list changes nothing.

    Args:
        model: the host; gates are made on the device of the layer that they go to.
        rules: dicts of ``pattern`` (a dotted glob over module names, see :mod:`gatefuse_plugins.patterns`), ``branch``
            (``attention`` or ``ffn``) and, optionally, ``gate`` (a config; default ``ResidualGate``). The gate's
            ``dim``, ``kind`` and ``layer`` are filled in where it takes and does not state them.
        dim: width of the branches, for gates that look at them.

    Returns:
        What was placed, in order.

    Raises:
        ConfigError: a rule has unknown or missing keys or an unknown branch, or a branch would get two gates.
        PatternError: a pattern matches nothing, or a layer without such a branch.
    """
    plan = plan_layer_gates(model, rules, dim)
    modules = dict(model.named_modules())
    for placed in plan:
        layer = modules[placed.layer]
        gate = GATES.build(dict(placed.gate))
        parameter = next(layer.parameters(), None)
        setattr(layer, f"{placed.branch}_gate", gate if parameter is None else gate.to(parameter.device))
    return plan


def plan_layer_gates(model: nn.Module, rules: Sequence[Mapping[str, Any]], dim: int | None = None) -> list[PlacedGate]:
    """What :func:`place_layer_gates` would place; arguments and errors as there."""
    modules = dict(model.named_modules())
    names = [name for name in modules if name]
    plan: list[PlacedGate] = []
    for index, rule in enumerate(rules):
        _check_rule(rule, index)
        branch, attribute = rule["branch"], f"{rule['branch']}_gate"
        for name in match_names(rule["pattern"], names, host=type(model).__name__):
            _check_layer(modules, name, attribute, rule["pattern"])
            if getattr(modules[name], attribute) is not None or (name, branch) in {(p.layer, p.branch) for p in plan}:
                raise ConfigError(f"layer_gates.{index}: the {branch} branch of {name} would get a second gate")
            plan.append(PlacedGate(name, branch, _gate_config(rule.get("gate", DEFAULT_GATE), name, branch, dim)))
    return plan


def _check_rule(rule: Mapping[str, Any], index: int) -> None:
    for key in rule:
        if key not in ("pattern", "branch", "gate"):
            raise ConfigError(f"layer_gates.{index}.{key} is unknown{suggestion(key, ('pattern', 'branch', 'gate'))}")
    for key in ("pattern", "branch"):
        if key not in rule:
            raise ConfigError(f"layer_gates.{index} has no {key!r}; a rule is dict(pattern=..., branch=..., gate=...)")
    if rule["branch"] not in BRANCHES:
        hint = suggestion(str(rule["branch"]), BRANCHES)
        raise ConfigError(f"layer_gates.{index}.branch {rule['branch']!r} is unknown{hint}")


def _check_layer(modules: Mapping[str, nn.Module], name: str, attribute: str, pattern: str) -> None:
    if hasattr(modules[name], attribute):
        return
    offering = [other for other, module in modules.items() if hasattr(module, attribute)]
    raise PatternError(
        f"pattern {pattern!r} matches {name}, a {type(modules[name]).__name__} without attribute {attribute!r}, so no"
        f" gate can be placed there{suggestion(name, offering) or '; no layer of this model has it'}"
    )


def _gate_config(gate: Mapping[str, Any], layer: str, branch: str, dim: int | None) -> dict[str, Any]:
    gate_class = GATES.get(str(gate.get("type")))
    if gate_class is None:
        name = str(gate.get("type"))
        raise ConfigError(f"gate type {name!r} of layer_gates is unknown{suggestion(name, GATES.module_dict)}")
    tail = layer.rpartition(".")[2]
    known = {"dim": dim, "kind": branch, "layer": int(tail) if tail.isdigit() else None}
    accepted = inspect.signature(gate_class).parameters
    filled = {key: value for key, value in known.items() if key in accepted and value is not None}
    return {**filled, **gate}
