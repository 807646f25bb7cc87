"""What an embedded event set is called, and which of its files its digest covers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.embedded_set import make_embedded_set
from gatefuse_plugins.data.events.config import EventSetConfig
from gatefuse_plugins.files import atomic_writer

GENERATOR_VERSION = 1
"""Raised whenever the same config would give another set."""

OFF_TOPIC = "off_topic.json"


"""Called with (videos written, videos in all)."""


def make_set(root: Path, layout: str, config: EventSetConfig, write: Callable[[Path], None]) -> dict[str, Any]:
    """Make the set at ``root`` unless it stands there already, see :func:`make_embedded_set`; returns its identity.

    Args:
        layout: ``"qvhighlights"`` or ``"tvsum"``.
        write: writes everything but the marker into the folder it is given.

    Raises:
        DataError: ``root`` holds anything but this very set, or its annotations were changed.
    """
    label = {"qvhighlights": "QVHighlights", "tvsum": "TVSum"}[layout]
    identity: dict[str, Any] = {
        "name": f"embedded audio-visual events (not {label})",
        "generator_version": GENERATOR_VERSION,
        "config": dataclasses.asdict(config),
        "embedded": True,
        "layout": layout,
    }
    return make_embedded_set(root, identity, _digested, write)


def write_lines(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    with atomic_writer(path, "w") as stream:
        stream.writelines(json.dumps(entry) + "\n" for entry in entries)


def _digested(root: Path) -> list[Path]:
    """Every annotation file, and the off-topic mask."""
    return sorted([*root.glob("*.jsonl"), root / OFF_TOPIC])
