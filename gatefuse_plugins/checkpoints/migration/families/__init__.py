"""What migration has to know of each family of hosts: how to build one for planning, for starting, for comparing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.families.avigate import AVIGATEFamily
from gatefuse_plugins.checkpoints.migration.families.base import Batches, Family
from gatefuse_plugins.checkpoints.migration.families.blip2 import Blip2Family
from gatefuse_plugins.checkpoints.migration.families.qd_detr import QDDETRFamily
from gatefuse_plugins.checkpoints.migration.hosts import Config, host_config, host_type, injected, rules_of, type_of
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.errors import ConfigError, suggestion

FAMILIES: dict[str, Family] = {
    "QDDETR": QDDETRFamily(),
    "Blip2ComposedRetrieval": Blip2Family(),
    "AVIGATE": AVIGATEFamily(),
}

__all__ = ["FAMILIES", "Batches", "Config", "Family", "family_of", "old_model", "type_of"]


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a model config: that of its host, where the config injects gates into one.

    Raises:
        ConfigError: the host is none that checkpoints can be migrated to, or gates go into a part of it that
            migration does not build.
    """
    name, key = host_type(config), "host" if rules_of(config) else "type"
    if name not in FAMILIES:
        hosts = ", ".join(FAMILIES)
        raise ConfigError(f"model.{key} {name!r}: checkpoints migrate to {hosts}{suggestion(name, FAMILIES)}")
    family = FAMILIES[name]
    for index, rule in enumerate(rules_of(config)):
        top = str(rule.get("pattern")).split(".", 1)[0]
        if top in family.frozen:
            raise ConfigError(
                f"model.injection.{index}: {rule['pattern']!r} lies in {top}, a frozen encoder that migration compares"
                " weight by weight and does not build; migrate to the config without this rule, and inject afterwards"
            )
    return family


def old_model(found: Identity, config: Config) -> Config:
    """Config of the checkpoint's own model, gates in its layers included; what is not told is as in ``config``."""
    host = family_of(config).old_config(found, host_config(config))
    return injected(host, rules_of(config) if found.injection is None else found.injection)
