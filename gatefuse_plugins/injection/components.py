"""Registered gates and fusions as inserts: which fit, which widths they need, and building them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, GatefuseError, suggestion
from gatefuse_plugins.gates.tap import TAP_KINDS
from gatefuse_plugins.injection.hosts import Host
from gatefuse_plugins.injection.inserts import InjectedFusion
from gatefuse_plugins.injection.rules import Rule
from gatefuse_plugins.injection.widths import CONTEXT_WIDTHS, X_WIDTHS, built_widths, context_width, target_width
from gatefuse_plugins.registry import FUSIONS, GATES


def complete_config(
    host: Host, rule: Rule, paths: tuple[str, ...], measured: bool = False
) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """The component's config with its widths filled in, and the widths of a projection of the context, if it needs one.

    Widths come from the config, the rule and the module's own attributes, which must agree.

    Args:
        measured: the rule's widths were read from an example.

    Raises:
        ConfigError: unknown type, one that is no insert, an unknown argument, widths that contradict each other, or
            one that nothing tells.
    """
    name = str(rule.component["type"])
    accepted, required = component_parameters(name, rule.is_fusion)
    for key in rule.component:
        if key not in accepted and key != "type":
            raise ConfigError(f"{name} has no parameter {key!r}{suggestion(str(key), accepted)}")
    config = dict(rule.component)
    dim = target_width(host, rule, paths[0], measured)
    context_dim = context_width(host, rule, paths[0], measured)
    for keys, width in ((X_WIDTHS, dim), (CONTEXT_WIDTHS, context_dim)):
        for key in keys:
            if key in accepted and key not in config and width is not None:
                config[key] = width
    kind = rule.at.removesuffix("_gate")
    if "kind" in accepted and "kind" not in config and kind in TAP_KINDS:  # a slot such as ffn_gate names its branch
        config["kind"] = kind
    digits = [part for part in paths[0].split(".") if part.isdigit()]
    if "layer" in accepted and "layer" not in config and digits:
        config["layer"] = int(digits[-1])
    lacking = [key for key in required if key not in config]
    if lacking:
        where = "context_dim" if lacking[0] in CONTEXT_WIDTHS else "dim" if lacking[0] in X_WIDTHS else lacking[0]
        raise ConfigError(
            f"{name} at {paths[0]} needs {' and '.join(lacking)}; state {where} in the rule, or plan with an example"
        )
    takes_one_width = rule.is_fusion and not any(key in accepted for key in CONTEXT_WIDTHS)
    own = config.get("dim")
    if takes_one_width and own is not None and context_dim is not None and context_dim != own:
        return config, (context_dim, int(own))
    return config, None


@functools.cache
def component_parameters(name: str, is_fusion: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Accepted and required arguments of a registered component that can be an insert.

    Raises:
        ConfigError: there is none of this name, or its forward is not that of an insert.
    """
    registry = FUSIONS if is_fusion else GATES
    component = registry.get(name)
    if component is None or (not is_fusion and not _gates_a_branch(component)):
        valid = [key for key, member in registry.module_dict.items() if is_fusion or _gates_a_branch(member)]
        fault = "is no registered" if component is None else "does not take a branch, so it is no"
        kind = "fusion" if is_fusion else "gate for a branch"
        raise ConfigError(f"type {name!r} {fault} {kind}{suggestion(name, valid)} (all: {', '.join(sorted(valid))})")
    parameters = inspect.signature(component).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return tuple(p.name for p in named), tuple(p.name for p in named if p.default is p.empty)


def _gates_a_branch(component: Any) -> bool:
    return next(iter(list(inspect.signature(component.forward).parameters)[1:]), None) == "branch"


def build_insert(
    config: Mapping[str, Any], is_fusion: bool, context_dims: tuple[int, int] | None, has_condition: bool
) -> nn.Module:
    """Build a component on the CPU, a fusion behind its outer scale unless it starts neutral by itself.

    Raises:
        ConfigError: it cannot be built, or changes the shape of its input.
    """
    try:
        with torch.device("cpu"):  # whatever the caller's default: on meta nothing shows whether it starts neutral
            component = (FUSIONS if is_fusion else GATES).build(dict(config))
            if not is_fusion:
                return component
            neutral = _starts_neutral(component, config, context_dims, has_condition)
            return InjectedFusion(component, context_dims, outer_scale=not neutral)
    except (GatefuseError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{config['type']} cannot be an insert with {dict(config)}: {error}") from error


@torch.no_grad()
def _starts_neutral(
    fusion: nn.Module, config: Mapping[str, Any], dims: tuple[int, int] | None, has_condition: bool
) -> bool:
    """Try the fusion on random streams; raises ConfigError where the output is not shaped as the input."""
    dim, context_dim = built_widths(config)
    if dim is None or context_dim is None:
        return False
    context_dim = dims[1] if dims else context_dim
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, dim, generator=generator)
    streams: dict[str, Tensor] = {"context": torch.randn(2, 3, context_dim, generator=generator)}
    if has_condition:
        streams["condition"] = torch.randn(2, 3, dim, generator=generator)
    training = fusion.training
    with torch.random.fork_rng(devices=[]):
        output = fusion.eval()(x, **streams)
    fusion.train(training)
    if output.shape != x.shape:
        shapes = f"{tuple(x.shape)} into {tuple(output.shape)}"
        raise ConfigError(f"it turns {shapes}; an insert must keep the shape")
    return torch.equal(output, x)
