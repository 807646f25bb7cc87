"""``${key}`` references between config values, resolved with OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gatefuse_plugins.errors import suggestion

_MARK = "${"


def resolve(root: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Replace every ``${dotted.key}``, nested ones (``${backbones.${backbone}.vision}``) included.

    A value that is one reference takes what it points to, whole dicts included (with lists for its tuples); within
    longer text the reference becomes text. Everything else keeps its type: tuples stay tuples.

    Returns:
        the resolved copy, and a line for each value that could not be resolved, starting with its dotted path.
    """
    faults: list[str] = []
    tree = OmegaConf.create(_plain(root), flags={"allow_objects": True})
    resolved = {key: _walk(value, tree, (key,), root, faults) for key, value in root.items()}
    return resolved, faults


def _plain(value: Any) -> Any:
    """A copy that OmegaConf can hold: objects that it has no node for become their text."""
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _walk(value: Any, parent: Any, path: tuple[Any, ...], root: Mapping[str, Any], faults: list[str]) -> Any:
    """``value`` stands at ``parent[path[-1]]`` of the OmegaConf tree."""
    key = path[-1]
    if isinstance(value, str) and _MARK in value:
        try:
            found = parent[key]
            return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
        except (OmegaConfBaseException, RecursionError) as error:
            faults.append(_fault(value, ".".join(map(str, path)), error, root))
            return value
    if isinstance(value, Mapping):
        return {name: _walk(child, parent[key], (*path, name), root, faults) for name, child in value.items()}
    if isinstance(value, list | tuple):
        children = [_walk(child, parent[key], (*path, index), root, faults) for index, child in enumerate(value)]
        return tuple(children) if isinstance(value, tuple) else children
    return value


def _fault(value: str, path: str, error: BaseException, root: Mapping[str, Any]) -> str:
    if isinstance(error, RecursionError):
        return f"{path}: {value!r} refers back to itself"
    reason = str(error).splitlines()[0]
    missing = re.search(r"key '([^']+)' not found", reason)
    hint = _nearest_key(missing.group(1), root) if missing else ""
    return f"{path}: {value!r} cannot be resolved ({reason}){hint}"


def _nearest_key(dotted: str, root: Mapping[str, Any]) -> str:
    """A suggestion for the first part of ``dotted`` that does not exist."""
    node: Any = root
    for key in dotted.split("."):
        if not isinstance(node, Mapping):
            return ""
        if key not in node:
            return suggestion(key, node)
        node = node[key]
    return ""
