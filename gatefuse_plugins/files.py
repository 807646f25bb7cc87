"""Files that are either whole or not there: atomic writes, locks, and JSON reading that says where a file is broken."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any

from gatefuse_plugins.errors import ConfigError, DataError


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; on success fsync it and rename it over ``path``.

    On any error (a full disk, an interrupt) the temporary file is removed and what stood at ``path`` stays.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with open(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes 0600, which would hide results from a group
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_json(path: str | os.PathLike[str], value: Any, indent: int | None = 2) -> None:
    """Write what :func:`plain` makes of ``value`` as UTF-8 JSON, atomically."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    with atomic_writer(path, "w") as stream:
        stream.write(text + "\n")


def plain(value: Any) -> Any:
    """Dataclasses, mappings, arrays, sequences and paths as JSON has them; NaN and infinities, which it lacks, None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if hasattr(value, "tolist"):  # arrays and their scalars; numpy itself would slow the start of small tools
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def read_json(
    path: str | os.PathLike[str], object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Read JSON; raises :class:`DataError` that names the file and the line where it is broken or truncated."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=object_pairs_hook)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); truncated download? Fetch the file again") from error


def require_file(path: str | os.PathLike[str], flag: str) -> None:
    """Before long work: can the file ``path`` be written, in a folder made where absent? Makes nothing.

    Raises:
        ConfigError: names ``flag``, and what is in the way.
    """
    if Path(path).is_dir():
        raise ConfigError(f"{flag} {path}: is a folder; expected the name of a file")
    require_folder(Path(path).parent, flag)


def require_folder(path: str | os.PathLike[str], flag: str) -> None:
    """Before long work: can files be written to the folder ``path``, made where absent? Makes nothing.

    Raises:
        ConfigError: names ``flag``, and the file or the folder that is in the way.
    """
    target = Path(path)
    held = next(one for one in (target, *target.absolute().parents) if os.path.lexists(one))
    if not held.is_dir():
        raise ConfigError(f"{flag} {target}: {held} is a file; expected a folder, or a name that is free for one")
    if not os.access(held, os.W_OK | os.X_OK):
        raise ConfigError(f"{flag} {target}: {held} cannot be written to; expected a folder of one's own")


@contextlib.contextmanager
def exclusive(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold an advisory lock on the file ``path`` (made where absent); who has to wait for it says so.

    The kernel drops the lock when its holder dies, so a killed process leaves nothing behind to clean up.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            from mmengine.logging import print_log  # imports torch, which small tools do without

            print_log(f"{target}: another process is at work here, waiting for it", logger="current")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, as hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
