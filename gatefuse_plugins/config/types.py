"""From a config's ``type`` to the class or function that will be built, or to the fault that stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

from gatefuse_plugins.config.places import Place
from gatefuse_plugins.errors import suggestion
from gatefuse_plugins.registry import FUSIONS, GATES, SCOPE


def find_type(name: str, place: Place, scope: str) -> Callable[..., Any] | None:
    """The member of ``place`` that ``name`` (``NAME``, ``scope.NAME`` or ``package.module.NAME``) builds, if any.

    Args:
        scope: scope in force, from ``_scope_`` or ``default_scope``: it decides what a bare ``NAME`` may mean, just as
            it does when the Runner builds.
    """
    prefix, _, bare = name.rpartition(".")
    for registry in place.registries:
        for level in _levels(registry):
            # In its own scope a bare name is looked up from the child registry on, elsewhere from mmengine's root.
            visible = prefix == level.scope or (not prefix and (level.scope in (scope, "mmengine")))
            if visible and bare in level.module_dict:
                return level.module_dict[bare]
    if prefix and prefix not in (SCOPE, "mmengine"):
        return get_object_from_string(name)
    return None


def type_names(place: Place, scope: str) -> list[str]:
    """Every name that ``type`` could have in ``place``."""
    names: set[str] = set()
    for registry in place.registries:
        for level in _levels(registry):
            prefix = "" if level.scope in (scope, "mmengine") else f"{level.scope}."
            names.update(prefix + name for name in level.module_dict)
    return sorted(names)


def unknown_type_fault(name: str, path: str, place: Place, scope: str) -> str:
    """The line that tells what ``name`` should have been."""
    names = type_names(place, scope)
    bare = name.rpartition(".")[2]
    for kind in (FUSIONS, GATES):
        if bare in kind.module_dict and kind not in place.registries:
            return (
                f"{path}.type: {name!r} is a {kind.name}; expected a {place.kind}; valid: {', '.join(names) or 'none'}"
            )
    scoped = f"{SCOPE}.{bare}"
    if scoped in names:
        return f"{path}.type: {name!r} is not a registered {place.kind}; did you mean {scoped!r}?"
    by_bare_name = {choice.rpartition(".")[2]: choice for choice in names}
    hint = suggestion(bare, by_bare_name)
    for short, full in sorted(by_bare_name.items()):
        hint = hint.replace(repr(short), repr(full))
    return f"{path}.type: {name!r} is not a registered {place.kind}{hint}"


def _levels(registry: Registry) -> Iterator[Registry]:
    """``registry``, its ancestors, then their other children (further scopes), each with its members imported."""
    line: list[Registry] = [registry]
    while line[-1].parent is not None:
        line.append(line[-1].parent)
    others = [child for level in line for child in level.children.values() if child not in line]
    for level in line + others:
        level.import_from_location()
        yield level
