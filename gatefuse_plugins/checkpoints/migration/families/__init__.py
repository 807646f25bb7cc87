"""What migration has to know of each family of hosts: how to build one for planning, for starting, for comparing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.families.avigate import AVIGATEFamily
from gatefuse_plugins.checkpoints.migration.families.base import Batches, Config, Family, type_of
from gatefuse_plugins.checkpoints.migration.families.blip2 import Blip2Family
from gatefuse_plugins.checkpoints.migration.families.qd_detr import QDDETRFamily
from gatefuse_plugins.errors import ConfigError, suggestion

FAMILIES: dict[str, Family] = {
    "QDDETR": QDDETRFamily(),
    "Blip2ComposedRetrieval": Blip2Family(),
    "AVIGATE": AVIGATEFamily(),
}

__all__ = ["FAMILIES", "Batches", "Config", "Family", "family_of", "type_of"]


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a model config.

    Raises:
        ConfigError: its ``type`` is no host that checkpoints can be migrated to.
    """
    name = type_of(config)
    if name not in FAMILIES:
        hosts = ", ".join(FAMILIES)
        raise ConfigError(f"model.type {name!r}: checkpoints migrate to {hosts}{suggestion(name, FAMILIES)}")
    return FAMILIES[name]
