"""Reading ``torch.save`` files and safetensors without running what a stranger put into them.

First the container is checked (sizes, checksums), then its pickle is followed without building anything; only a file in
which all adds up and every global is known reaches ``torch.load(weights_only=True)``, which is allowed the few classes
of plain data that the checkpoints in use need, for the length of one read.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.serialization import safe_globals

from gatefuse_plugins.checkpoints.safety.containers import ZIP_MAGIC, check_safetensors_header
from gatefuse_plugins.checkpoints.safety.inspection import inspect_torch_file
from gatefuse_plugins.engine.resume import checkpoint_globals
from gatefuse_plugins.errors import CheckpointError

_LISTED = 8


def _allowed_globals() -> list[Any]:
    """QD-DETR keeps its options in a ``Namespace``; the ``torch.device`` inside is among torch's own."""
    return [argparse.Namespace, *checkpoint_globals()]


def read_file(path: Path, trust: bool, mmap: bool = False) -> Any:
    """The object that the file at ``path`` holds, tensors on the CPU; a safetensors file becomes a dict of tensors.

    The container is told by its bytes, never by its name.

    Args:
        path: the file.
        trust: unpickle without restrictions.
        mmap: leave tensors in the file until they are read, where its format can (uncompressed zip). The file must
            not be written to while they are in use.

    Raises:
        CheckpointError: missing, no regular file, empty, truncated, corrupt, of an unknown format, or (unless
            ``trust``) in need of a global that could run code.
    """
    _check_is_file(path)
    if _looks_like_safetensors(path):
        return _read_safetensors(path)
    try:
        if trust:
            return torch.load(path, map_location="cpu", weights_only=False, mmap=mmap and _is_stored_zip(path))
        refused, zipped = inspect_torch_file(path)
        if not refused:
            with safe_globals(_allowed_globals()):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipped)
    except Exception as error:  # arbitrary bytes make an unpickler raise nearly anything
        raise CheckpointError(_unreadable(path, error)) from error
    raise CheckpointError(_refusal(path, refused))


def _refusal(path: Path, refused: list[str]) -> str:
    named = ", ".join(f"'{name[:120]}'" for name in refused[:_LISTED])
    more = f" and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
    return (
        f"{path}: holds the Python global{'s' * (len(refused) > 1)} {named}{more}, which no checkpoint needs and which"
        " could run code while loading; nothing was run. If you know who made the file, trust=True (--trust in a"
        " command) loads it; otherwise ask for the weights as safetensors"
    )


def _unreadable(path: Path, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    return (
        f"{path}: not a readable checkpoint ({reason}); expected a torch.save file (.pt, .pth, .ckpt, .bin) or"
        " safetensors. Truncated or interrupted download? Fetch the file again"
    )


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(child.name for child in path.iterdir() if child.suffix in (".pt", ".pth", ".ckpt"))[:5]
        hint = f"; it holds {', '.join(inside)}" if inside else ""
        raise CheckpointError(f"{path}: is a directory; expected a checkpoint file{hint}")
    if not path.exists():
        beside = sorted(child.name for child in path.parent.iterdir())[:5] if path.parent.is_dir() else []
        hint = f"; beside it lie {', '.join(beside)}" if beside else f"; nor is there a filled folder {path.parent}"
        raise CheckpointError(f"{path}: no such checkpoint file{hint}")
    if not path.is_file():  # opening a pipe would wait for its other end, reading a device never end
        raise CheckpointError(f"{path}: is a pipe, socket or device; expected a checkpoint file")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be opened ({error.strerror}); expected a readable file") from error
    if empty:
        raise CheckpointError(f"{path}: is empty (0 bytes); expected a checkpoint. Interrupted copy? Fetch it again")


def _is_stored_zip(path: Path) -> bool:
    """Whether every member lies uncompressed in a zip file, so that its bytes are the tensor's."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(9)
    return head[7:] == b"\0{" and not head.startswith((ZIP_MAGIC, b"\x80\x02"))  # a little-endian length, then JSON


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        check_safetensors_header(path)
        tensors: dict[str, Any] = load_file(path, device="cpu")
    except Exception as error:  # SafetensorError and, on some headers, KeyError, TypeError, OverflowError, ...
        reason = str(error)[:300]
        raise CheckpointError(f"{path}: damaged safetensors file ({reason}); truncated? Fetch it again") from error
    return tensors
