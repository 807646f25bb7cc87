"""The folder of an embedded event set: complete with a marker, or not there at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.events.config import EventSetConfig
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer, file_digest, read_json, write_json

GENERATOR_VERSION = 1
"""Raised whenever the same config would give another set."""

MARKER = "gatefuse_dataset.json"
OFF_TOPIC = "off_topic.json"

Progress = Callable[[int, int], None]
"""Called with (videos written, videos in all)."""


def make_set(root: Path, layout: str, config: EventSetConfig, write: Callable[[Path], None]) -> dict[str, Any]:
    """Make the set at ``root`` unless it stands there already, and return its identity.

    The set is written to a hidden folder beside ``root`` that takes its name when complete and is removed on any error,
    so several processes may make the same set at once. Only a killed process leaves its hidden folder behind.

    Args:
        layout: ``"qvhighlights"`` or ``"tvsum"``.
        write: writes everything but the marker into the folder it is given.

    Raises:
        DataError: ``root`` holds anything but this very set, or its annotations were changed.
    """
    root = Path(root).resolve()
    label = {"qvhighlights": "QVHighlights", "tvsum": "TVSum"}[layout]
    identity: dict[str, Any] = {
        "name": f"embedded audio-visual events (not {label})",
        "generator_version": GENERATOR_VERSION,
        "config": dataclasses.asdict(config),
        "embedded": True,
        "layout": layout,
    }
    if (root / MARKER).exists():
        return _verified(root, identity)
    _require_vacant(root)
    draft = root.with_name(f".{root.name}.{secrets.token_hex(4)}.draft")
    draft.mkdir(parents=True)
    try:
        write(draft)
        write_json(draft / MARKER, identity | {"digest": _digest(draft)})
        _move(draft, root)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return _verified(root, identity)


def write_lines(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    with atomic_writer(path, "w") as stream:
        stream.writelines(json.dumps(entry) + "\n" for entry in entries)


def _move(draft: Path, root: Path) -> None:
    try:
        os.replace(draft, root)
    except OSError:
        if not (root / MARKER).exists():  # else another process was faster, and its set is checked as any other
            raise


def _require_vacant(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: is a file, expected a new or empty folder for the embedded set")
    entries = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
    if entries:
        shown = ", ".join(entries[:5]) + (f" and {len(entries) - 5} more" if len(entries) > 5 else "")
        raise DataError(
            f"{root}: holds {shown}, which is no embedded set and is left untouched; expected a new or empty folder"
        )


def _verified(root: Path, expected: dict[str, Any]) -> dict[str, Any]:
    found = read_json(root / MARKER)
    differing = [key for key in expected if not isinstance(found, dict) or found.get(key) != expected[key]]
    if differing:
        described = {key: found.get(key) if isinstance(found, dict) else found for key in differing}
        raise DataError(
            f"{root}: holds another embedded set ({described}), expected"
            f" { {key: expected[key] for key in differing} }; "
            "name another folder, or delete this one to have it made anew"
        )
    digest = _digest(root)
    if digest != found.get("digest"):
        raise DataError(
            f"{root}: the annotations no longer match {MARKER} (digest {digest}, expected {found.get('digest')}); "
            "delete the folder to have the embedded set made anew"
        )
    return found


def _digest(root: Path) -> str:
    """SHA-256 over the names and bytes of every annotation file and of the off-topic mask."""
    digest = hashlib.sha256()
    for path in sorted([*root.glob("*.jsonl"), root / OFF_TOPIC]):
        if not path.is_file():
            raise DataError(f"{path}: missing from the embedded set; delete {root} to have it made anew")
        digest.update(f"{path.name} {file_digest(path)}\n".encode())
    return digest.hexdigest()
