"""A host with an injection as one model of a config, for mmengine's Runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from gatefuse_plugins.config.places import place_of
from gatefuse_plugins.config.rules import dimension_rule, rules_for
from gatefuse_plugins.config.types import find_type, unknown_type_fault
from gatefuse_plugins.config.validation import key_faults
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.injection.apply import inject
from gatefuse_plugins.injection.rules import parse_rules
from gatefuse_plugins.registry import MODELS

_OWN = ("type", "host", "injection")


@MODELS.register_module(name="Injected")
def build_injected(host: str, injection: Sequence[Mapping[str, Any]], **options: Any) -> nn.Module:
    """Build the registered model ``host`` from ``options`` and inject the rules; the host itself is returned.

    The host's arguments stand beside ``host``, where they stand without an injection, so a leaf turns a base's model
    into an injected one by three keys.

    Args:
        host: registered model.
        injection: rules, see :func:`inject`.

    Raises:
        ConfigError: see :func:`inject`.
        PatternError: see :func:`inject`.
    """
    model = MODELS.build({"type": host, **options})
    inject(model, injection, on_meta=torch.get_default_device().type == "meta")  # a skeleton was asked for
    return model


@dimension_rule("Injected")
def host_and_rules(node: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> list[str]:
    """The host's own arguments and rules, and the form of the injection's."""
    name = node.get("host")
    if not isinstance(name, str):
        return [f"{path}.host: {name!r} is no name; expected a registered model"]
    place, scope = place_of(("model",)), str(root.get("default_scope", "mmengine"))
    target = find_type(name, place, scope)
    if target is None:
        return [unknown_type_fault(name, path, place, scope).replace(f"{path}.type", f"{path}.host", 1)]
    host = {"type": name, **{key: value for key, value in node.items() if key not in _OWN}}
    faults = key_faults(host, path, place, target)
    for rule in rules_for(name):
        faults += rule(host, path, root)
    try:
        parse_rules(node.get("injection") or [])
    except ConfigError as error:
        faults.append(f"{path}.{error}")
    return faults
