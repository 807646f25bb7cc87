"""Every fault of a config in one error, before anything is built."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.config import Config

from gatefuse_plugins.config.places import Place, implied_type, place_of
from gatefuse_plugins.config.rules import rules_for, section_faults
from gatefuse_plugins.config.signatures import parameters_of
from gatefuse_plugins.config.types import find_type, unknown_type_fault
from gatefuse_plugins.config.variables import known_variables
from gatefuse_plugins.errors import ConfigError, suggestion

_MARKERS = frozenset({"type", "_scope_", "_delete_"})
_ALTERNATIVES = ("profiles", "backbones")
_FREE_FORM = frozenset({"dataset_identity", "custom_imports", "env_cfg"})


def validate_config(cfg: Config | Mapping[str, Any]) -> None:
    """Check a resolved config (see :func:`load_config`) without building anything.

    Every dict with a ``type``, however deep, and every dict whose type is implied (dataloaders, loops, the optimizer
    wrapper) is checked: its type is registered for that place, its keys are parameters, none is missing, and the
    component's own :func:`dimension_rule` checks hold. Top-level keys are the Runner's, or listed in
    ``gatefuse_plugins.config.variables``, or start with ``_``; what lies below them fits its :func:`section_rule`, and
    the entries of ``profiles`` have the same keys, as those of ``backbones`` have.

    Raises:
        ConfigError: lists every fault, a line each: dotted path, what is wrong, nearest valid name.
    """
    root = cfg.to_dict() if isinstance(cfg, Config) else cfg
    faults = config_faults(root)
    if faults:
        source = getattr(cfg, "filename", None) or "config"
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"{source}: {len(faults)} fault{'s' * (len(faults) > 1)}\n{listed}")


def config_faults(root: Mapping[str, Any]) -> list[str]:
    """The faults that :func:`validate_config` raises, those of top-level keys and sections first."""
    known = known_variables()
    faults = [
        f"{key}: unknown top-level key{suggestion(key, known)}"
        for key in root
        if key not in known and not str(key).startswith("_")
    ]
    if "model" not in root:
        faults.append("model: missing; the Runner needs it")
    walker = _Walker(root)
    for key, value in root.items():
        if key not in _FREE_FORM:
            walker.visit(value, (key,), str(root.get("default_scope", "mmengine")))
    for key in _ALTERNATIVES:
        faults += _alternative_faults(root.get(key), key)
    return faults + section_faults(root) + walker.faults


def _alternative_faults(entries: Any, path: str) -> list[str]:
    """Keys that some of several interchangeable entries lack: no reference can read them whichever is in use."""
    if not isinstance(entries, Mapping) or not all(isinstance(entry, Mapping) for entry in entries.values()):
        return []
    shared = set.intersection(*map(set, entries.values())) if entries else set()
    faults = []
    for index, (name, entry) in enumerate(entries.items(), start=1):
        if entry in list(entries.values())[index:]:
            continue  # a reference to that entry
        for key in entry:
            if key not in shared:
                lacking = ", ".join(f"{path}.{other}" for other in entries if key not in entries[other])
                hint = suggestion(str(key), shared)
                faults.append(f"{path}.{name}.{key}: absent from {lacking}; every entry needs the same keys{hint}")
    return faults


def key_faults(node: Mapping[str, Any], path: str, place: Place, target: Callable[..., Any]) -> list[str]:
    """Unknown and missing keys of a dict that builds ``target``."""
    parameters = parameters_of(target)
    allowed = parameters.accepted | place.extra | _MARKERS
    name = getattr(target, "__name__", str(target))
    faults = []
    if not parameters.open:
        choices = allowed - _MARKERS
        for key in node:
            if key not in allowed:
                faults.append(f"{path}.{key}: {name} has no parameter {key!r}{suggestion(str(key), choices)}")
    for key in sorted(parameters.required - place.injected - set(node)):
        faults.append(f"{path}.{key}: missing; {name} requires it")
    return faults


class _Walker:
    """Collects the faults of every node below ``root``."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.faults: list[str] = []

    def visit(self, value: Any, path: tuple[str | int, ...], scope: str) -> None:
        """Check ``value`` and all below it; a fault never keeps what lies deeper from being checked."""
        if isinstance(value, Mapping):
            scope = str(value.get("_scope_", scope))
            self._check(value, path, scope)
            for key, child in value.items():
                self.visit(child, (*path, key), scope)
        elif isinstance(value, list | tuple):
            for index, child in enumerate(value):
                self.visit(child, (*path, index), scope)

    def _check(self, node: Mapping[str, Any], path: tuple[str | int, ...], scope: str) -> None:
        place, dotted = place_of(path), ".".join(map(str, path))
        name = node.get("type", implied_type(node, path))
        if name is None:
            return
        target: Callable[..., Any] | None
        if isinstance(name, str):
            target = find_type(name, place, scope)
            if target is None:
                self.faults.append(unknown_type_fault(name, dotted, place, scope))
        elif "type" in node:
            self.faults.append(f"{dotted}.type: {name!r} is an object; expected the registered name as a string")
            target = None
        else:
            target = name
        faults = key_faults(node, dotted, place, target) if target is not None else []
        if isinstance(name, str):
            faults += self._rule_faults(name, node, dotted, tolerant=bool(faults))
        self.faults += faults

    def _rule_faults(self, name: str, node: Mapping[str, Any], path: str, tolerant: bool) -> list[str]:
        faults: list[str] = []
        for rule in rules_for(name):
            # Rules may rely on sound keys; where those are at fault already, a rule that trips has nothing to add.
            with contextlib.suppress(*((KeyError, TypeError, AttributeError) if tolerant else ())):
                faults += rule(node, path, self.root)
        return faults
