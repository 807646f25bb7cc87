"""The folder of an embedded set of clips: complete with a marker, or not there at all."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.base_annotations import MARKER
from gatefuse_plugins.data.base_faults import capped_list
from gatefuse_plugins.data.clips.config import ClipSetConfig
from gatefuse_plugins.data.msrvtt.places import CAPTION_FILE, TEST_FILE, TRAIN_FILE
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import file_digest, read_json, write_json

GENERATOR_VERSION = 1
"""Raised whenever the same config would give another set."""

ATTRIBUTES = "clips.json"
_DIGESTED = (ATTRIBUTES, CAPTION_FILE, TEST_FILE, TRAIN_FILE)


def make_set(root: Path, config: ClipSetConfig, write: Callable[[Path], None]) -> dict[str, Any]:
    """Make the set at ``root`` unless it stands there already, and return its identity.

    The set is written to a hidden folder beside ``root`` that takes its name when complete and is removed on any error,
    so several processes may make the same set at once. Only a killed process leaves its hidden folder behind.

    Args:
        write: writes everything but the marker into the folder it is given.

    Raises:
        DataError: ``root`` holds anything but this very set, or its annotations were changed.
    """
    root = Path(root).resolve()
    identity: dict[str, Any] = {
        "name": "embedded clips with sound (not MSR-VTT)",
        "generator_version": GENERATOR_VERSION,
        "config": dataclasses.asdict(config),
        "embedded": True,
        "layout": "msrvtt",
    }
    if not (root / MARKER).exists():
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
        raise DataError(
            f"{root}: holds {capped_list(entries, 5)}, which is no embedded set and is left untouched; expected a new "
            "or empty folder"
        )


def _verified(root: Path, expected: dict[str, Any]) -> dict[str, Any]:
    found = read_json(root / MARKER)
    if not isinstance(found, dict):
        raise DataError(f"{root / MARKER}: holds a {type(found).__name__}, expected an object; delete {root}")
    differing = [key for key in expected if found.get(key) != expected[key]]
    if differing:
        raise DataError(
            f"{root}: holds another embedded set ({ {key: found.get(key) for key in differing} }), expected"
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
    """SHA-256 over the names and bytes of every annotation file."""
    digest = hashlib.sha256()
    for name in _DIGESTED:
        if not (root / name).is_file():
            raise DataError(f"{root / name}: missing from the embedded set; delete {root} to have it made anew")
        digest.update(f"{name} {file_digest(root / name)}\n".encode())
    return digest.hexdigest()
