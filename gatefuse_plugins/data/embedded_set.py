"""What embedded sets share: bounds of their sizes, and a folder that is complete with a marker or not there at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.base_annotations import MARKER
from gatefuse_plugins.data.base_faults import capped_list
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import file_digest, read_json, write_json

Digested = Callable[[Path], Iterable[Path]]
"""Root of a set -> the files that its digest covers, in order."""


def bound_faults(config: Any, bounds: Mapping[str, tuple[float, float]]) -> list[str]:
    """Fields of ``config`` outside ``bounds`` (lowest and highest value), each with the nearest inside."""
    return [
        f"{name}={value} must lie in {low} to {high}; nearest: {min(max(value, low), high)}"
        for name, (low, high) in bounds.items()
        if not low <= (value := getattr(config, name)) <= high
    ]


def make_embedded_set(
    root: Path, identity: dict[str, Any], digested: Digested, write: Callable[[Path], None]
) -> dict[str, Any]:
    """Make the set at ``root`` unless it stands there already, and return its identity, ``digest`` included.

    The set is written to a hidden folder beside ``root`` that takes its name when complete and is removed on any error,
    so several processes may make the same set at once. Only a killed process leaves its hidden folder behind.

    Args:
        root: a new or empty folder, or that of the set.
        identity: what the marker has to say of the set: name, layout, generator_version, config, embedded.
        digested: the files whose names and bytes the digest covers.
        write: writes everything but the marker into the folder it is given.

    Raises:
        DataError: ``root`` holds anything but this very set, or its annotations were changed.
    """
    root = Path(root).resolve()
    if not (root / MARKER).exists():
        _require_vacant(root)
        draft = root.with_name(f".{root.name}.{secrets.token_hex(4)}.draft")
        draft.mkdir(parents=True)
        try:
            write(draft)
            write_json(draft / MARKER, identity | {"digest": set_digest(draft, digested(draft))})
            _move(draft, root)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return verified_identity(root, identity, digested)


def verified_identity(root: Path, expected: dict[str, Any], digested: Digested) -> dict[str, Any]:
    """The identity that the marker at ``root`` holds.

    Raises:
        DataError: it differs from ``expected``, or the files no longer have the digest it states.
    """
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
    digest = set_digest(root, digested(root))
    if digest != found.get("digest"):
        raise DataError(
            f"{root}: the annotations no longer match {MARKER} (digest {digest}, expected {found.get('digest')}); "
            "delete the folder to have the embedded set made anew"
        )
    return found


def set_digest(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over names below ``root`` and bytes of ``files``; raises :class:`DataError` where one is missing."""
    digest = hashlib.sha256()
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: missing from the embedded set; delete {root} to have it made anew")
        digest.update(f"{path.relative_to(root).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()


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
