"""What a migrated file says about itself: from which file, by which rules, to which model, and how exactly."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatefuse_plugins.checkpoints.migration.comparison import Comparison
from gatefuse_plugins.checkpoints.migration.plan import Plan
from gatefuse_plugins.checkpoints.migration.tables import VERSION


def provenance(plan: Plan, source_digest: str, config_name: str, comparison: Comparison | None) -> dict[str, Any]:
    """The record, JSON-able.

    Args:
        plan: the plan that is carried out.
        source_digest: SHA-256 of the source file.
        config_name: the config file, as given.
        comparison: of old and new; ``None`` where it was not asked for.
    """
    source = plan.source.path
    return {
        "source": {"name": source.name, "sha256": source_digest, "bytes": source.stat().st_size},
        "origin": plan.found.origin,
        "epoch": plan.source.epoch,
        "fusion": plan.found.fusion,
        "rule_table_version": VERSION,
        "config": config_name,
        "model": plain(plan.config),
        "init": plan.init,
        "seed": plan.seed,
        "exact": plan.exact,
        "dropped": {row.old: row.note for row in plan.named("dropped")},
        "new": [row.new for row in plan.named("new")],
        "verified": None if comparison is None else comparison.to_json(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "earlier": plan.source.provenance or None,
    }


def plain(value: Any) -> Any:
    """``value`` with configs and tuples as plain dicts and lists, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
