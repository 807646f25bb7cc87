"""One forward of the host on an example: the shapes of targets and contexts, before anything is changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.injection.context import GIVEN
from gatefuse_plugins.injection.hosts import Host
from gatefuse_plugins.injection.rules import Rule, Source
from gatefuse_plugins.injection.select import pick

Targets = Sequence[tuple[Rule, tuple[str, ...]]]


@dataclass
class Shapes:
    """What the example showed: inputs and outputs of modules by path, and how often each ran."""

    arguments: dict[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)


def run_example(host: Host, targets: Targets, example: Mapping[str, Any] | Sequence[Any]) -> Shapes:
    """Run the host once, in eval mode and without gradients; modes and random state are as before afterwards.

    Raises:
        ConfigError: the host fails on the example, by whatever error.
    """
    args, kwargs = ((), dict(example)) if isinstance(example, Mapping) else (tuple(example), {})
    shapes = Shapes(dict(kwargs))
    positions = list(host.arguments)
    shapes.arguments.update(zip(positions, args, strict=False))
    watched = {paths[0] for _rule, paths in targets}
    watched |= {s.name for rule, _paths in targets for s in rule.sources.values() if s.kind == "module"}
    handles = [host.modules[path].register_forward_hook(_watch(path, shapes), with_kwargs=True) for path in watched]
    modes = [(module, module.training) for module in host.model.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            host.model.eval()(*args, **kwargs)
    except Exception as error:  # whatever a stranger's forward raises
        raise ConfigError(f"{host.name} cannot run the example: {type(error).__name__}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return shapes


def _watch(path: str, shapes: Shapes) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        shapes.calls[path] = shapes.calls.get(path, 0) + 1
        shapes.inputs[path], shapes.outputs[path] = (args, kwargs), output

    return hook


def check_example(host: Host, rule: Rule, paths: tuple[str, ...], shapes: Shapes) -> Rule:
    """The rule with the widths that the example showed.

    Raises:
        ConfigError: the target or a source never ran, a stream is missing, or shapes contradict the rule.
    """
    path = paths[0]
    if rule.at not in ("input", "output"):
        return rule
    if path not in shapes.calls:
        raise ConfigError(f"{path} never runs in the example, so an insert there would do nothing; name another module")
    x = _target(rule, path, shapes)
    context = _source(rule, "context", shapes, path)
    if context is not None:
        batch = (x if rule.batch_first else x.transpose(0, 1)).shape[0]
        if context.shape[0] != batch:
            raise ConfigError(
                f"{path} is {tuple(x.shape)} and its context {tuple(context.shape)}: batches of {batch} and"
                f" {context.shape[0]}; is one of them (L, B, D)? Say batch_first=False there"
            )
    for key, tensor in (("dim", x), ("context_dim", context)):
        stated = getattr(rule, key)
        if tensor is not None and stated not in (None, tensor.shape[-1]):
            raise ConfigError(f"{path}: {key} is {stated}, but the example is {tensor.shape[-1]} wide; set that")
    width = {} if context is None else {"context_dim": context.shape[-1]}
    return dataclasses.replace(rule, dim=x.shape[-1], **width)


def _target(rule: Rule, path: str, shapes: Shapes) -> Tensor:
    try:
        if rule.at == "output":
            x = pick(shapes.outputs[path], rule.select, f"output of {path}")
        else:
            args, kwargs = shapes.inputs[path]
            x = pick(kwargs if isinstance(rule.select, str) else args, rule.select, f"input of {path}")
    except DataError as error:
        raise ConfigError(str(error)) from error
    if x.dim() != 3:
        order = "(B, L, D)" if rule.batch_first else "(L, B, D)"
        raise ConfigError(f"the {rule.at} of {path} has shape {tuple(x.shape)}; expected {order}")
    return x


def _source(rule: Rule, role: str, shapes: Shapes, path: str) -> Tensor | None:
    source: Source | None = rule.sources.get(role)
    if source is None:
        return None
    known: Mapping[str, Any] = {"argument": shapes.arguments, "module": shapes.outputs, "given": GIVEN}[source.kind]
    if known.get(source.name) is None:
        raise ConfigError(f"{path}: {role} comes from {source}, which is missing in the example")
    if source.kind == "module" and shapes.calls[source.name] > 1 and source.call == "only":
        calls = shapes.calls[source.name]
        raise ConfigError(f"{path}: {role} is ambiguous: {source} ran {calls} times; say call='last' for the latest")
    try:
        tensor = pick(known[source.name], source.select, f"{path}: {role}")
    except DataError as error:
        raise ConfigError(str(error)) from error
    return tensor if source.batch_first else tensor.transpose(0, 1)
