"""A file backend for mmengine that never leaves half a file, and says plainly why a file could not be written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.files import atomic_writer

BACKEND_NAME = "gatefuse_atomic"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class AtomicBackend(LocalBackend):
    """mmengine's ``LocalBackend`` whose ``put`` and ``put_text`` write a temporary file and rename it.

    Use as ``backend_args=dict(backend='gatefuse_atomic')``.

    Raises:
        CheckpointError: the disk is full, the directory read-only or the write failed otherwise; names the path, the
            bytes needed and free, and what stood at the path before is unchanged.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath``: whole, or not at all."""
        with _explained(Path(filepath), len(obj)), atomic_writer(filepath) as stream:
            stream.write(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write the text ``obj`` to ``filepath``: whole, or not at all."""
        self.put(obj.encode(encoding), filepath)


register_backend(BACKEND_NAME, AtomicBackend, force=True)  # force: a reloaded module may register itself again


def check_writable(directory: str | os.PathLike[str]) -> None:
    """Make ``directory`` if need be and prove that a file can be written in it.

    Call it before the Runner is built: the Runner opens its log file in the work dir at once.

    Raises:
        ConfigError: no file can be written there; names the directory and the system's reason.
    """
    probe = Path(directory) / ".writable"
    try:
        with atomic_writer(probe) as stream:
            stream.write(b"\0")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"work_dir: {directory} cannot be written ({error.strerror or error}); expected a writable directory "
            "with free space: choose another with --work-dir"
        ) from error


@contextmanager
def _explained(path: Path, needed: int) -> Iterator[None]:
    """Turn an ``OSError`` of a write of ``needed`` bytes to ``path`` into a ``CheckpointError``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            reason = f"no space left: {needed:,} bytes needed, {_free_bytes(path.parent)} free"
            remedy = "free some space"
        elif error.errno in _READ_ONLY:
            reason = f"the directory is read-only or not yours ({error.strerror}); {needed:,} bytes needed"
            remedy = "make it writable"
        else:
            reason = f"{error.strerror or error}; {needed:,} bytes needed"
            remedy = "repair the file system"
        raise CheckpointError(
            f"{path}: could not be written, {reason}. The previous checkpoint is intact: {remedy} and continue "
            "with --resume"
        ) from error


def _free_bytes(directory: Path) -> str:
    try:
        return f"{shutil.disk_usage(directory).free:,}"
    except OSError:
        return "an unknown number"
