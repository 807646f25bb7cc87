"""Which host a model config is about, also where the config injects gates into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Config = dict[str, Any]
Rules = Sequence[Mapping[str, Any]]

_INJECTED = "Injected"
_KEYS = ("type", "host", "injection")


def type_of(config: Mapping[str, Any] | None) -> str:
    """The ``type`` of a config node without its scope; empty without one."""
    name = config.get("type") if isinstance(config, Mapping) else None
    return name.rpartition(".")[2] if isinstance(name, str) else ""


def host_config(config: Mapping[str, Any]) -> Config:
    """``config`` without its injection: that of the bare host."""
    if type_of(config) != _INJECTED:
        return dict(config)
    return {"type": config.get("host"), **{name: value for name, value in config.items() if name not in _KEYS}}


def host_type(config: Mapping[str, Any]) -> str:
    """Type of the host, without its scope."""
    return type_of(host_config(config))


def rules_of(config: Mapping[str, Any]) -> Rules:
    """Rules of the injection; empty for a bare host."""
    return config.get("injection") or [] if type_of(config) == _INJECTED else []


def injected(host: Mapping[str, Any], rules: Rules) -> Config:
    """``host``, the config of a bare host, with ``rules``; as it is where there are none."""
    if not rules:
        return dict(host)
    rest = {name: value for name, value in host.items() if name != "type"}
    return {"type": _INJECTED, "host": host["type"], "injection": list(rules), **rest}
