"""Whether an insert can work at the place that a rule names, judged from names and classes alone."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.residual import ResidualGate
from gatefuse_plugins.injection.hosts import CONTAINERS, Host
from gatefuse_plugins.injection.rules import Rule
from gatefuse_plugins.injection.sites import Site
from gatefuse_plugins.registry import GATES


def check_target(host: Host, paths: tuple[str, ...], rule: Rule) -> None:
    """Refuse modules that never run, outputs that are no branch, slots that are none, and places that are taken.

    Raises:
        ConfigError: says which, and what to name instead.
    """
    path, module = paths[0], host.modules[paths[0]]
    if rule.at not in ("output", "input"):
        _check_slot(path, module, rule)
        _check_nested(host, path)
    else:
        check_runs(host, path)
        if rule.at == "output" and _scales(rule):
            _check_branch(host, path, rule)
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    if any(isinstance(hook, Site) for hook in hooks):
        raise ConfigError(f"{path} has an insert already, from an injection of another part of the host")


def check_runs(host: Host, path: str) -> None:
    """Refuse a module whose hooks never run, or run on what no insert can read, as target and as source.

    Raises:
        ConfigError: says which, and what to name instead.
    """
    module, (above, _, _) = host.modules[path], path.rpartition(".")
    if isinstance(module, CONTAINERS):
        members = f"; name its members: {path + '.*'!r}"
        raise ConfigError(f"{path} is a {type(module).__name__}, which never runs itself{members}")
    if isinstance(host.modules.get(above), nn.MultiheadAttention):
        raise ConfigError(f"{path} never runs: {above} (MultiheadAttention) reads its weights; name {above!r}")
    for name in _with_parents(path):
        part = host.modules[name]
        if isinstance(part, torch.jit.ScriptModule) and not (name == path and _is_traced(part)):
            raise ConfigError(f"{path}: {name} was compiled by torch.jit, which takes no hooks; inject before that")
    _check_nested(host, path)


def _with_parents(path: str) -> list[str]:
    return list(itertools.accumulate(path.split("."), "{}.{}".format))


def _is_traced(module: nn.Module) -> bool:
    """Whether hooks run: on the root of what was traced they do, on its inner modules and on scripted ones not."""
    return isinstance(module, torch.jit.TopLevelTracedModule)


def _scales(rule: Rule) -> bool:
    """Whether the component multiplies a branch that exists; others bring a branch of their own."""
    component = None if rule.is_fusion else GATES.get(str(rule.component["type"]))
    return isinstance(component, type) and issubclass(component, ResidualGate)


def _check_branch(host: Host, path: str, rule: Rule) -> None:
    """BERT's blocks add and normalise inside: what they give is the stream, and a closed gate would erase it."""
    for inner in ("", "output."):
        if f"{path}.{inner}dense" in host.modules and f"{path}.{inner}LayerNorm" in host.modules:
            kind = type(host.modules[path]).__name__
            raise ConfigError(
                f"{path} ({kind}) gives the normalised sum of stream and branch, not the branch; name"
                f" {f'{rule.pattern}.{inner}dense'!r}"
            )


def _check_nested(host: Host, path: str) -> None:
    parents = [(parent, host.modules[parent]) for parent in _with_parents(path)[:-1]]
    for name, module in [("the host", host.model), *parents]:
        if isinstance(module, nn.TransformerEncoder) and getattr(module, "use_nested_tensor", False):
            raise ConfigError(
                f"{path} lies in a TransformerEncoder ({name}) that passes nested tensors to its layers in eval,"
                " which no gate can read; build it with enable_nested_tensor=False (padded positions of its output"
                " then hold values instead of zeros)"
            )


def _check_slot(path: str, module: nn.Module, rule: Rule) -> None:
    if rule.is_fusion:
        raise ConfigError(f"at={rule.at!r}: a slot takes a gate; a fusion goes at 'output' or 'input'")
    if not hasattr(module, rule.at):
        slots = [name for name, value in vars(module).items() if value is None and name.endswith("_gate")]
        hint = suggestion(rule.at, ["output", "input", *slots])
        raise ConfigError(f"at={rule.at!r}: {path}, a {type(module).__name__}, has no such slot{hint}")
    if getattr(module, rule.at) is not None:
        raise ConfigError(f"the slot {rule.at} of {path} is taken ({type(getattr(module, rule.at)).__name__})")
    if rule.select is not None or not rule.batch_first:
        raise ConfigError(f"at={rule.at!r}: a slot takes neither select nor batch_first; the layer decides both")
