"""Inject: a plan carried out whole or not at all. Eject: the host as it was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.injection.components import build_insert
from gatefuse_plugins.injection.context import ContextStore
from gatefuse_plugins.injection.frames import CloseFrame, OpenFrame, RecordOutput
from gatefuse_plugins.injection.hosts import Host
from gatefuse_plugins.injection.initialisation import HostInitialisation
from gatefuse_plugins.injection.inserts import CHILD, Injection
from gatefuse_plugins.injection.plan import InjectionPlan, PlannedInsert, plan_injection
from gatefuse_plugins.injection.sites import InputSite, OutputSite
from gatefuse_plugins.injection.widths import built_widths


def inject(
    model: nn.Module,
    cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    example: Mapping[str, Any] | Sequence[Any] | None = None,
    on_meta: bool = False,
) -> InjectionPlan:
    """Put gates and fusions into a host, in place; its outputs and its own state-dict keys stay as they are.

    Do it before the optimizer is made and before the host is wrapped (DistributedDataParallel, torch.compile).
    Everything is built before the first change, so on any error the host is untouched.

    Args:
        model: the host.
        cfg: see :func:`plan_injection`, likewise ``example``.
        on_meta: allow a host on the meta device. Its weights, and those of the inserts, then have to be loaded: the
            neutral start is lost.

    Returns:
        The plan that was carried out.

    Raises:
        ConfigError: see :func:`plan_injection`; or a component cannot be built, or the host lies on the meta device.
        PatternError: see :func:`plan_injection`.
    """
    plan = plan_injection(model, cfg, example)
    host = Host(model)
    unreal = next((name for name, parameter in model.named_parameters() if parameter.is_meta), None)
    if unreal is not None and not on_meta:
        raise ConfigError(
            f"{host.name} lies on the meta device ({unreal}): to_empty() would wipe the inserts' neutral start; load"
            " the host's weights first, then inject (plan_injection works on meta)"
        )
    built = [_build(host, insert) for insert in plan.inserts]
    injection = Injection(plan)
    try:
        _attach(host, injection, plan, built)
    except BaseException:
        _detach(model, injection)
        raise
    return plan


def eject(model: nn.Module) -> InjectionPlan:
    """Take out what :func:`inject` put in: hooks, filled slots and the reserved child. Works on copies too.

    Returns:
        The plan that was undone.

    Raises:
        ConfigError: nothing was injected.
    """
    injection = injection_of(model)
    _detach(model, injection)
    return injection.plan


def injection_of(model: nn.Module) -> Injection:
    """The host's reserved child.

    Raises:
        ConfigError: nothing was injected.
    """
    injection = getattr(model, CHILD, None)
    if not isinstance(injection, Injection):
        inner = unwrapped(model, compiled=True)
        wraps = inner is not model and isinstance(getattr(inner, CHILD, None), Injection)
        hint = "; it wraps a host: pass that" if wraps else ""
        raise ConfigError(f"{type(model).__name__} holds no injection{hint or '; call inject first'}")
    return injection


def _build(host: Host, insert: PlannedInsert) -> nn.Module:
    try:
        built = build_insert(insert.config, insert.is_fusion, insert.context_dims, "condition" in insert.sources)
    except ConfigError as error:
        raise ConfigError(f"injection.{insert.rule} at {insert.paths[0]}: {error}") from error
    own = next(host.modules[insert.paths[0]].parameters(), None)
    near = own if own is not None else next(host.model.parameters(), None)
    if near is not None:
        built = built.to(near.device, near.dtype if near.is_floating_point() else None)
    return built.train(host.model.training)


def _widths(insert: PlannedInsert, built: nn.Module) -> tuple[int | None, int | None]:
    """What the insert takes; one without a matrix, such as a scalar gate, fits every width."""
    if all(parameter.dim() < 2 or parameter.numel() == 1 for parameter in built.parameters()):
        return None, None
    return built_widths(insert.config, insert.context_dims)


def _attach(host: Host, injection: Injection, plan: InjectionPlan, built: Sequence[nn.Module]) -> None:
    store = ContextStore()
    sources = {source for insert in plan.inserts for source in insert.sources.values()}
    for path in sorted({source.name for source in sources if source.kind == "module"}):
        injection.handles.append(host.modules[path].register_forward_hook(RecordOutput(store, path)))
    for insert, component in zip(plan.inserts, built, strict=True):
        module = host.modules[insert.paths[0]]
        if insert.at not in ("input", "output"):
            setattr(module, insert.at, component)
            injection.slots.append((insert.paths[0], insert.at))
            continue
        injection.inserts[insert.key] = component
        place = f"{insert.at} of {insert.paths[0]}"
        widths = _widths(insert, component)
        options = (component, insert.is_fusion, insert.sources, store, place, insert.select, insert.batch_first, widths)
        if insert.at == "output":
            injection.handles.append(module.register_forward_hook(OutputSite(*options)))
        else:
            injection.handles.append(module.register_forward_pre_hook(InputSite(*options), with_kwargs=True))
    names = {source.name for source in sources if source.kind == "argument"}
    arguments = {name: host.argument_position(name, "context") for name in sorted(names)}
    given = tuple(sorted({source.name for source in sources if source.kind == "given"}))
    if sources:
        opening = OpenFrame(store, arguments, given)
        injection.handles.append(host.model.register_forward_pre_hook(opening, with_kwargs=True, prepend=True))
        injection.handles.append(host.model.register_forward_hook(CloseFrame(store), always_call=True))
    host.model.add_module(CHILD, injection)
    if isinstance(host.model, BaseModule) and "init_weights" not in vars(host.model):
        host.model.init_weights = HostInitialisation(host.model, injection.prefixes())


def _detach(model: nn.Module, injection: Injection) -> None:
    for handle in injection.handles:
        handle.remove()
    for path, slot in injection.slots:
        layer = model.get_submodule(path)
        delattr(layer, slot)
        setattr(layer, slot, None)
    if getattr(model, CHILD, None) is injection:
        delattr(model, CHILD)
    if isinstance(vars(model).get("init_weights"), HostInitialisation):
        del model.init_weights
