"""The complete plan of an injection: computed from names and signatures alone, nothing is built or changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from gatefuse_plugins.errors import ConfigError, PatternError, suggestion
from gatefuse_plugins.injection.components import complete_config
from gatefuse_plugins.injection.example import Shapes, check_example, run_example
from gatefuse_plugins.injection.hosts import Host
from gatefuse_plugins.injection.rules import Rule, Source, parse_rules
from gatefuse_plugins.injection.targets import check_runs, check_target


@dataclass(frozen=True)
class PlannedInsert:
    """One gate or fusion of a plan.

    Attributes:
        paths: every dotted path of the host's module (more than one where it is shared).
        module: class of that module.
        config: complete config of the component.
        context_dims: width of the context and of what the fusion takes, where a projection goes between.
        rule: position of its rule.
    """

    paths: tuple[str, ...]
    module: str
    at: str
    is_fusion: bool
    config: Mapping[str, Any]
    select: int | str | None = None
    batch_first: bool = True
    sources: Mapping[str, Source] = field(default_factory=dict)
    context_dims: tuple[int, int] | None = None
    rule: int = 0

    @property
    def key(self) -> str:
        """Name under the reserved child; module paths cannot hold a slash, so keys never collide."""
        tail = "" if self.select is None else f":{self.select}"
        return f"{self.paths[0].replace('.', '/')}/{self.at}{tail}"

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value!r}" for key, value in self.config.items() if key != "type")
        sources = "".join(f"; {role} from {source}" for role, source in self.sources.items())
        what = f"{'fusion' if self.is_fusion else 'gate'} {self.config['type']}({options})"
        return f"{' = '.join(self.paths)} ({self.module}) {self.at}: {what}{sources}"


@dataclass(frozen=True)
class InjectionPlan:
    """Everything that :func:`~gatefuse_plugins.injection.inject` will do to a host; print it."""

    host: str
    inserts: tuple[PlannedInsert, ...]

    def lines(self) -> list[str]:
        """The plan for a terminal, a line an insert."""
        return [f"{self.host}: {len(self.inserts)} inserts", *(f"  {insert}" for insert in self.inserts)]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        inserts = [
            {
                "paths": list(insert.paths),
                "module": insert.module,
                "at": insert.at,
                "select": insert.select,
                "kind": "fusion" if insert.is_fusion else "gate",
                "config": dict(insert.config),
                "sources": {role: {source.kind: source.name} for role, source in insert.sources.items()},
                "rule": insert.rule,
            }
            for insert in self.inserts
        ]
        return {"host": self.host, "inserts": inserts}


def plan_injection(
    model: nn.Module,
    cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    example: Mapping[str, Any] | Sequence[Any] | None = None,
) -> InjectionPlan:
    """Judge every rule against the host.

    Args:
        model: the host; may lie on the meta device.
        cfg: rules, or a dict with them under ``injection``; see :func:`~gatefuse_plugins.injection.rules.parse_rules`.
        example: arguments of one forward of the host (a dict: by name). It is run once, in eval mode, without
            gradients; its shapes fill in widths, and judge what names cannot: whether targets run and streams fit.

    Raises:
        ConfigError: a faulty rule, an ambiguous or unknown context, a place that would get two inserts, a width that is
            missing or does not fit, a host that was injected or wrapped before.
        PatternError: a pattern is malformed or matches nothing; names the nearest modules.
    """
    rules = parse_rules(cfg)
    host = Host(model)
    places = _places(host, rules)
    shapes = None
    if example is not None:
        shapes = run_example(host, [(rule, paths) for _index, rule, paths in places], example)
    return InjectionPlan(host.name, tuple(_planned(host, *place, shapes) for place in places))


def _places(host: Host, rules: Sequence[Rule]) -> list[tuple[int, Rule, tuple[str, ...]]]:
    """Where every rule acts; the first place that would get two inserts ends the search."""
    places = []
    taken: dict[tuple[str, str, int | str], int] = {}
    for index, rule in enumerate(rules):
        for paths in _targets(host, rule, index):
            select = 0 if rule.select is None else rule.select  # None takes the first member, as 0 does
            first = taken.setdefault((paths[0], rule.at, select), index)
            if first != index:
                raise ConfigError(
                    f"injection.{index}: the {rule.at} of {paths[0]} would get a second insert, after that of"
                    f" injection.{first}; expected one rule a place"
                )
            places.append((index, rule, paths))
    return places


def _planned(host: Host, index: int, rule: Rule, paths: tuple[str, ...], shapes: Shapes | None) -> PlannedInsert:
    try:
        sized = rule if shapes is None else check_example(host, rule, paths, shapes)
        config, context_dims = complete_config(host, sized, paths, measured=shapes is not None)
    except ConfigError as error:
        raise ConfigError(f"injection.{index}: {error}") from error
    return PlannedInsert(
        paths=paths,
        module=type(host.modules[paths[0]]).__name__,
        at=rule.at,
        is_fusion=rule.is_fusion,
        config=config,
        select=rule.select,
        batch_first=rule.batch_first,
        sources=rule.sources,
        context_dims=context_dims,
        rule=index,
    )


def _targets(host: Host, rule: Rule, index: int) -> list[tuple[str, ...]]:
    """The modules that a rule matches, each with all its paths."""
    try:
        targets = host.match(rule.pattern)
    except PatternError as error:
        raise PatternError(f"injection.{index}: {error}") from error
    for paths in targets:
        try:
            check_target(host, paths, rule)
        except ConfigError as error:
            raise ConfigError(f"injection.{index}: {error}") from error
    for role, source in rule.sources.items():
        place = f"injection.{index}.{role}"
        if rule.at not in ("input", "output"):
            raise ConfigError(f"{place}: slot {rule.at!r} is called by the host's layer, which passes the mask itself")
        if source.kind == "argument":
            host.argument_position(source.name, place)
        elif source.kind == "module" and source.name not in host.paths_of:
            hint = suggestion(source.name, host.names)
            if any(character in source.name for character in "*?{"):
                raise ConfigError(
                    f"{place} is ambiguous: {source.name!r} is a pattern; expected one module's path{hint}"
                )
            raise ConfigError(f"{place}: {host.name} has no module {source.name!r}{hint}")
        elif source.kind == "module":
            try:
                check_runs(host, source.name)
            except ConfigError as error:
                raise ConfigError(f"{place}: {error}") from error
    return targets
