"""Several files changed together: a journal lets the next call finish what a kill interrupted.

    CHECKOUT/.gatefuse-patch/N              the new content of file N, whole and on the disk before the journal is
    CHECKOUT/.gatefuse-patch/journal.json   which file goes where; written last, and from then on the change counts

Each file is then renamed over its target, which is atomic. Nothing is left behind when all is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer, file_digest, read_json, write_json

FOLDER = ".gatefuse-patch"
JOURNAL = "journal.json"


@dataclass(frozen=True)
class FileChange:
    """A file's content before and after."""

    path: str
    before: bytes
    after: bytes


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the checkout for one process; others wait."""
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_interrupted(root: Path) -> bool:
    """Is there a change that was begun and not finished?"""
    return (root / FOLDER / JOURNAL).is_file()


def carry_out(root: Path, changes: Sequence[FileChange]) -> None:
    """Change the files, all of them or, where the process dies, so that :func:`finish` can.

    Raises:
        DataError: the tree cannot be written to; nothing was changed.
    """
    folder = root / FOLDER
    try:
        folder.mkdir()
        entries = []
        for number, change in enumerate(changes):
            target = root / change.path
            if not os.access(target.parent, os.W_OK, effective_ids=True):
                raise PermissionError(13, "Permission denied", str(target.parent))
            with atomic_writer(folder / str(number)) as stream:
                stream.write(change.after)
            shutil.copymode(target, folder / str(number))
            entries.append({"path": change.path, "staged": str(number), "before": file_digest(target)})
            entries[-1]["after"] = file_digest(folder / str(number))
        write_json(folder / JOURNAL, {"files": entries})
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(
            f"{error.filename or root}: cannot be written ({error.strerror}); nothing was changed"
        ) from error
    finish(root, {change.path for change in changes})


def finish(root: Path, allowed: Collection[str]) -> list[str]:
    """Complete a change that was begun; returns the paths that were still to do, none where there is no journal.

    Args:
        root: the checkout.
        allowed: the files that patches change; a journal that names another one is not ours.

    Raises:
        DataError: a file was edited since, or cannot be written; the journal is not ours. It stays.
    """
    folder = root / FOLDER
    if not is_interrupted(root):
        shutil.rmtree(folder, ignore_errors=True)  # what a kill before or after the journal's life left
        return []
    pending = [entry for entry in _entries(folder, allowed) if _digest(root / entry["path"]) != entry["after"]]
    for entry in pending:
        if _digest(root / entry["path"]) != entry["before"]:
            raise DataError(
                f"{root / entry['path']}: was edited after a change of it had been interrupted; nothing was done. Put"
                f" the file back (git checkout), or remove {folder} to give the interrupted change up"
            )
    try:
        for entry in pending:
            os.replace(folder / entry["staged"], root / entry["path"])
        for parent in {(root / entry["path"]).parent for entry in pending}:
            _sync_folder(parent)
        os.unlink(folder / JOURNAL)
        shutil.rmtree(folder)
    except OSError as error:
        raise DataError(
            f"{error.filename or root}: cannot be written ({error.strerror}); call again to complete the change"
        ) from error
    return [entry["path"] for entry in pending]


def _entries(folder: Path, allowed: Collection[str]) -> list[dict[str, str]]:
    content: Any = read_json(folder / JOURNAL)
    try:
        entries = [
            {key: str(entry[key]) for key in ("path", "staged", "before", "after")} for entry in content["files"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / JOURNAL}: not a journal of this tool ({error}); remove {folder}") from error
    for entry in entries:
        if entry["path"] not in allowed or not entry["staged"].isdecimal():
            raise DataError(f"{folder / JOURNAL}: names {entry['path']!r}, which no patch changes; remove {folder}")
    return entries


def _digest(path: Path) -> str | None:
    return file_digest(path) if path.is_file() else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
