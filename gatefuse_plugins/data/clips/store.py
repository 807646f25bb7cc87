"""What an embedded set of clips is called, and which of its files its digest covers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.clips.config import ClipSetConfig
from gatefuse_plugins.data.embedded_set import make_embedded_set
from gatefuse_plugins.data.msrvtt.places import CAPTION_FILE, TEST_FILE, TRAIN_FILE

GENERATOR_VERSION = 1
"""Raised whenever the same config would give another set."""

ATTRIBUTES = "clips.json"


def make_set(root: Path, config: ClipSetConfig, write: Callable[[Path], None]) -> dict[str, Any]:
    """Make the set at ``root`` unless it stands there already, see :func:`make_embedded_set`; returns its identity.

    Args:
        write: writes everything but the marker into the folder it is given.

    Raises:
        DataError: ``root`` holds anything but this very set, or its annotations were changed.
    """
    identity: dict[str, Any] = {
        "name": "embedded clips with sound (not MSR-VTT)",
        "generator_version": GENERATOR_VERSION,
        "config": dataclasses.asdict(config),
        "embedded": True,
        "layout": "msrvtt",
    }
    return make_embedded_set(root, identity, _digested, write)


def _digested(root: Path) -> list[Path]:
    return [root / name for name in (ATTRIBUTES, CAPTION_FILE, TEST_FILE, TRAIN_FILE)]
