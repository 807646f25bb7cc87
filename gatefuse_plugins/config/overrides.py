"""``--cfg-options``: read, merge, and refuse what would change nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config, DictAction

from gatefuse_plugins.config.places import implied_type, place_of
from gatefuse_plugins.config.signatures import parameters_of
from gatefuse_plugins.config.types import find_type
from gatefuse_plugins.config.variables import known_variables
from gatefuse_plugins.errors import ConfigError, suggestion

Overrides = Mapping[str, Any] | Sequence[str] | None


def parse_overrides(overrides: Overrides) -> dict[str, Any]:
    """``["a.b=1", "c=[x,y]"]`` or an already parsed dict -> ``{dotted key: value}``, values as mmengine reads them.

    Raises:
        ConfigError: an item is not ``KEY=VALUE``, or its brackets do not match.
    """
    if overrides is None:
        return {}
    if isinstance(overrides, Mapping):
        return dict(_flatten(overrides, ""))
    malformed = [item for item in overrides if not item.partition("=")[0].strip() or "=" not in item]
    if malformed:
        raise ConfigError(f"--cfg-options: {', '.join(map(repr, malformed))}: expected KEY=VALUE, such as seed=1")
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--options", nargs="+", action=DictAction, default={})
    try:
        # "--options=ITEM" keeps an item that starts with a dash from being read as another option
        return dict(parser.parse_args([f"--options={item}" for item in overrides]).options)
    except AssertionError as error:
        raise ConfigError(f"--cfg-options: {error}; expected matching brackets, such as betas=[0.9,0.98]") from error


def merge_overrides(cfg: Config, overrides: Mapping[str, Any]) -> None:
    """Merge dotted ``overrides`` into ``cfg`` in place.

    Raises:
        ConfigError: an override goes through a value that is no dict, or past the end of a list.
    """
    for key, value in overrides.items():
        try:
            cfg.merge_from_dict({key: value})
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            raise ConfigError(f"override {key}: {_blocker(cfg.to_dict(), key) or error}") from error


def override_faults(overrides: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each override whose key the config did not have and nothing reads.

    Args:
        before: the config as its file states it.
        after: the merged and resolved config, for the types whose parameters may be added.
    """
    faults = (_fault(key.split("."), before, after) for key in overrides)
    return [fault for fault in faults if fault]


def _fault(keys: list[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    node: Any = before
    merged: Any = after
    path: list[str | int] = []
    for key in keys:
        index = int(key) if key.isdigit() and isinstance(merged, list | tuple) else key
        present = _child(node, index)
        if present is _ABSENT and isinstance(merged, Mapping) and not _may_be_added(key, path, merged, before, after):
            choices = set(_names(node)) if path else set(_names(before)) | known_variables()
            choices |= (_parameters(merged, path, after) or set()) if path else set()
            return f"override {'.'.join(keys)}: {'.'.join(map(str, [*path, key]))} is unknown{suggestion(key, choices)}"
        if present is _ABSENT:
            return None  # a value that is new as a whole: validate_config judges what lies in it
        node, merged = present, _child(merged, index)
        path.append(index)
    return None


def _may_be_added(
    key: str, path: list[str | int], merged: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> bool:
    if not path:
        return key in known_variables()
    if key in ("type", "_delete_", "_scope_") or (path[0] in ("env_cfg", "default_hooks") and len(path) == 1):
        return True
    parameters = _parameters(merged, path, after)
    return parameters is None or key in parameters


def _parameters(node: Mapping[str, Any], path: list[str | int], after: Mapping[str, Any]) -> set[str] | None:
    """Keys that what ``node`` builds would take; the empty set where it builds nothing, None where any key goes."""
    place = place_of(path)
    name = node.get("type", implied_type(node, path))
    if name is None:
        return set(place.extra)
    scope = str(after.get("default_scope", "mmengine"))
    target = find_type(name, place, scope) if isinstance(name, str) else name
    if target is None:
        return None  # the unknown type is the fault, and validate_config reports it
    parameters = parameters_of(target)
    return None if parameters.open else set(parameters.accepted | place.extra)


_ABSENT = object()


def _child(node: Any, key: str | int) -> Any:
    if isinstance(node, Mapping):
        return node.get(key, _ABSENT)
    if isinstance(node, list | tuple) and isinstance(key, int) and key < len(node):
        return node[key]
    return _ABSENT


def _names(node: Any) -> list[str]:
    return [str(key) for key in node] if isinstance(node, Mapping) else []


def _flatten(options: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping) and value and "_delete_" not in value and "type" not in value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _blocker(root: Mapping[str, Any], dotted: str) -> str:
    """Which value on the way to ``dotted`` cannot be entered."""
    node: Any = root
    keys = dotted.split(".")
    for depth, key in enumerate(keys):
        if not isinstance(node, Mapping | list | tuple):
            remedy = "; override what it refers to" if isinstance(node, str) and "${" in node else ""
            return f"{'.'.join(keys[:depth])} is {node!r}, which has no key {key!r}{remedy}"
        if isinstance(node, list | tuple) and not (key.isdigit() and int(key) < len(node)):
            return (
                f"{'.'.join(keys[:depth])} is a list of {len(node)}; expected an index below {len(node)}, not {key!r}"
            )
        node = _child(node, int(key) if isinstance(node, list | tuple) else key)
        if node is _ABSENT:
            return ""
    return ""
