"""Rules of an injection, read from plain dicts: what goes where, and where its context comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatefuse_plugins.errors import ConfigError, suggestion

KINDS = ("argument", "module", "given")
ROLES = ("context", "context_mask", "condition", "condition_mask", "mask")
_SOURCE_KEYS = (*KINDS, "select", "batch_first", "invert", "call")
_RULE_KEYS = ("pattern", "gate", "fusion", "at", "select", "batch_first", "dim", "context_dim", *ROLES)
_FUSION_ONLY = ("context", "context_mask", "condition", "condition_mask", "context_dim")


@dataclass(frozen=True)
class Source:
    """Where a stream or a mask comes from.

    Attributes:
        kind: ``argument`` of the host's forward, output of a ``module``, or ``given`` by :func:`fusion_context`.
        name: the argument, the module's dotted path, or the name in the scope.
        select: member of a tuple (default: the first) or mapping.
        batch_first: False for (L, B, D) and (L, B).
        invert: for masks that are True at padding.
        call: ``only`` refuses a module that runs twice in one forward, ``last`` takes its latest output.
    """

    kind: str
    name: str
    select: int | str | None = None
    batch_first: bool = True
    invert: bool = False
    call: str = "only"

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Rule:
    """One rule; ``component`` is the config of a gate (``is_fusion`` False) or of a fusion.

    Attributes:
        pattern: dotted glob over the host's module names.
        at: ``output``, ``input``, or the name of a slot: an attribute of the host's layer that is None and that the
            layer calls as ``gate(branch, mask)``.
        select: which member of the output (a tuple or mapping) or argument is changed.
        batch_first: False where the host's tensors are (L, B, D).
        dim: width of the changed tensor, ``context_dim`` that of the context; ``None``: from component or module.
        sources: by role, see ``ROLES``.
    """

    pattern: str
    component: Mapping[str, Any]
    is_fusion: bool
    at: str = "output"
    select: int | str | None = None
    batch_first: bool = True
    dim: int | None = None
    context_dim: int | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)


def parse_rules(cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Rules from a list of dicts, or from a dict that holds such a list under ``injection``.

    Raises:
        ConfigError: no rules; an unknown, missing or contradicting key; the message starts with the rule's place.
    """
    rules = cfg.get("injection") if isinstance(cfg, Mapping) else cfg
    if not isinstance(rules, Sequence) or isinstance(rules, str) or not rules:
        raise ConfigError(
            f"injection: {type(rules).__name__} is no list of rules; expected [dict(pattern=..., gate=dict(type=...))]"
        )
    return [_parse_rule(rule, f"injection.{index}") for index, rule in enumerate(rules)]


def _parse_rule(rule: Any, place: str) -> Rule:
    if not isinstance(rule, Mapping):
        raise ConfigError(f"{place}: {rule!r} is no dict; expected dict(pattern=..., gate=... or fusion=...)")
    _check_keys(rule, _RULE_KEYS, place)
    if not isinstance(rule.get("pattern"), str):
        raise ConfigError(f"{place}.pattern: {rule.get('pattern')!r} is no string; expected a dotted glob")
    given = [key for key in ("gate", "fusion") if rule.get(key) is not None]
    if len(given) != 1:
        raise ConfigError(f"{place}: {' and '.join(given) or 'neither gate nor fusion'}; expected one of gate, fusion")
    component = rule[given[0]]
    if not isinstance(component, Mapping) or not isinstance(component.get("type"), str):
        raise ConfigError(f"{place}.{given[0]}: {component!r} is no config; expected dict(type='NAME', ...)")
    is_fusion = given[0] == "fusion"
    misplaced = [] if is_fusion else [key for key in _FUSION_ONLY if rule.get(key) is not None]
    if misplaced:
        raise ConfigError(f"{place}.{misplaced[0]}: a gate on a branch takes no {misplaced[0]}; only a fusion does")
    if is_fusion and rule.get("context") is None:
        raise ConfigError(f"{place}.context: missing; a fusion needs context=dict(argument|module|given='NAME')")
    sources = {role: _parse_source(rule[role], f"{place}.{role}") for role in ROLES if rule.get(role) is not None}
    options = {key: rule[key] for key in ("at", "select", "batch_first", "dim", "context_dim") if key in rule}
    _check_options(options, place)
    if isinstance(options.get("select"), int) and options["select"] < 0:  # two rules could name one member unnoticed
        raise ConfigError(f"{place}.select: {options['select']} counts from the end; expected a position from 0")
    return Rule(rule["pattern"], dict(component), is_fusion, sources=sources, **options)


def _parse_source(source: Any, place: str) -> Source:
    if not isinstance(source, Mapping):
        raise ConfigError(f"{place}: {source!r} is no source; expected dict(argument|module|given='NAME')")
    _check_keys(source, _SOURCE_KEYS, place)
    kinds = [kind for kind in KINDS if source.get(kind) is not None]
    if len(kinds) != 1:
        raise ConfigError(
            f"{place} is ambiguous: it names {' and '.join(kinds) or 'no source'}; expected one of {KINDS}"
        )
    name = source[kinds[0]]
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{place}.{kinds[0]}: {name!r} is no name; expected a string")
    options = {key: source[key] for key in ("select", "batch_first", "invert", "call") if key in source}
    _check_options(options, place)
    return Source(kinds[0], name, **options)


def _check_options(options: Mapping[str, Any], place: str) -> None:
    types = {
        "at": str,
        "batch_first": bool,
        "invert": bool,
        "call": str,
        "dim": int | None,
        "context_dim": int | None,
        "select": int | str | None,
    }
    for key, value in options.items():
        expected: Any = types[key]
        if not isinstance(value, expected) or (expected is not bool and isinstance(value, bool)):
            name = getattr(expected, "__name__", str(expected))
            raise ConfigError(f"{place}.{key}: {value!r} is a {type(value).__name__}; expected {name}")
    for key in ("dim", "context_dim"):
        if options.get(key) is not None and options[key] < 1:
            raise ConfigError(f"{place}.{key}: {options[key]} is no width; expected an integer from 1")
    if options.get("call", "only") not in ("only", "last"):
        hint = suggestion(options["call"], ("only", "last"))
        raise ConfigError(f"{place}.call: {options['call']!r} is unknown{hint}")


def _check_keys(node: Mapping[str, Any], valid: tuple[str, ...], place: str) -> None:
    for key in node:
        if key not in valid:
            raise ConfigError(f"{place}.{key} is unknown{suggestion(str(key), valid)}")
