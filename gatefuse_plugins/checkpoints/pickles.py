"""Reading ``torch.save`` files and safetensors without running what a stranger put into them.

``torch.load(weights_only=True)`` refuses every global but a few of torch's. The checkpoints in use need a few more,
all of them plain data; they are allowed one by one, for the length of one read.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch.serialization import safe_globals

from gatefuse_plugins.errors import CheckpointError

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_SAFETENSORS_MAX_HEADER = 100_000_000  # the format's own limit
_DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64")


def _history_method(owner: type, name: str) -> Callable[..., Any]:
    """Stand-in for ``getattr``, through which mmengine pickles the methods of its ``HistoryBuffer``.

    The real ``getattr`` would open every attribute of every allowed global to a crafted file.
    """
    if owner is not HistoryBuffer or name not in ("min", "max", "mean", "current"):
        raise ValueError(f"getattr({owner!r}, {name!r}) is more than mmengine's HistoryBuffer needs")
    method: Callable[..., Any] = getattr(HistoryBuffer, name)
    return method


def _allowed_globals() -> list[Any]:
    # numpy 2 moved `numpy.core` to `numpy._core`; a file names whichever wrote it, so both names lead to ours.
    rebuild_array, rebuild_scalar = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpy_functions = [
        (function, f"numpy.{package}.multiarray.{name}")
        for package in ("core", "_core")
        for function, name in ((rebuild_array, "_reconstruct"), (rebuild_scalar, "scalar"))
    ]
    return [
        argparse.Namespace,  # QD-DETR keeps its options in one; the torch.device inside is among torch's own
        HistoryBuffer,  # mmengine's message hub
        (_history_method, "builtins.getattr"),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        *(type(np.dtype(name)) for name in _DTYPES),
        *numpy_functions,
    ]


def read_file(path: Path, trust: bool) -> Any:
    """The object that the file at ``path`` holds, tensors on the CPU; a safetensors file becomes a dict of tensors.

    The container is told by its bytes, never by its name.

    Raises:
        CheckpointError: missing, a directory, empty, truncated, corrupt, of an unknown format, or (unless ``trust``)
            in need of a global that could run code.
    """
    _check_is_file(path)
    if _looks_like_safetensors(path):
        return _read_safetensors(path)
    try:
        with safe_globals([] if trust else _allowed_globals()):
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # arbitrary bytes make an unpickler raise nearly anything
        found = _GLOBAL.search(str(error))
        if found and not trust:
            raise CheckpointError(
                f"{path}: holds the Python global '{found.group(1)}', which is not among the plain data that"
                " checkpoints need and could run code while loading. If you know who made the file, trust=True loads"
                " it; otherwise ask for the weights as safetensors"
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({reason}); expected a torch.save file (.pt, .pth, .ckpt, .bin) or"
            " safetensors. Truncated or interrupted download? Fetch the file again"
        ) from error


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(child.name for child in path.iterdir() if child.suffix in (".pt", ".pth", ".ckpt"))[:5]
        hint = f"; it holds {', '.join(inside)}" if inside else ""
        raise CheckpointError(f"{path}: is a directory; expected a checkpoint file{hint}")
    if not path.exists():
        beside = sorted(child.name for child in path.parent.iterdir())[:5] if path.parent.is_dir() else []
        hint = f"; beside it lie {', '.join(beside)}" if beside else f"; nor is there a filled folder {path.parent}"
        raise CheckpointError(f"{path}: no such checkpoint file{hint}")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be opened ({error.strerror}); expected a readable file") from error
    if empty:
        raise CheckpointError(f"{path}: is empty (0 bytes); expected a checkpoint. Interrupted copy? Fetch it again")


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_MAX_HEADER


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(f"{path}: is a safetensors file; reading it needs `pip install safetensors`") from error
    try:
        tensors: dict[str, Any] = load_file(path, device="cpu")
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged safetensors file ({error}); truncated? Fetch it again") from error
    return tensors
