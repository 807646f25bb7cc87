"""Safe resume: read mmengine checkpoints with ``weights_only=True`` and find the newest readable one."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from gatefuse_plugins.errors import CheckpointError

POINTER = "last_checkpoint"
_NUMBERED = re.compile(r"(?:iter|epoch)_(\d+)\.pth")
REQUIRED = ("meta", "state_dict", "message_hub", "optimizer")
# Class -> its functions that mmengine's checkpoints refer to.
_FUNCTIONS: dict[type, tuple[str, ...]] = {
    HistoryBuffer: ("min", "max", "current", "mean"),
    OneCycleParamScheduler: ("_annealing_cos", "_annealing_linear"),
}
_DTYPES = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16", "U1", "S1")


def _checkpoint_getattr(owner: object, name: str) -> Callable[..., Any]:
    """What ``getattr`` may do inside a checkpoint.

    mmengine pickles the statistics of a ``HistoryBuffer`` and the annealing of a one-cycle schedule as
    ``getattr(class, name)``. Allowing the real ``getattr`` would open every attribute of every allowed object to a
    hostile file.
    """
    for allowed, names in _FUNCTIONS.items():
        if owner is allowed and name in names:
            return getattr(allowed, name)
    expected = "; ".join(f"{allowed.__name__}: {', '.join(names)}" for allowed, names in _FUNCTIONS.items())
    raise CheckpointError(f"the checkpoint asks for attribute {name!r} of {owner!r}; expected only {expected}")


def checkpoint_globals() -> list[Any]:
    """Exactly the globals that mmengine 0.10 checkpoints hold beyond torch's own, for ``torch.serialization``.

    These are ``HistoryBuffer`` and ``OneCycleParamScheduler``, a ``getattr`` narrowed to the few functions of theirs
    that checkpoints refer to, and numpy's arrays, scalars and plain dtypes under the module paths of numpy 1
    (``numpy.core``) and numpy 2 (``numpy._core``).
    """
    numpy_core = "numpy._core" if hasattr(np, "_core") else "numpy.core"  # since 1.26, before
    multiarray = importlib.import_module(f"{numpy_core}.multiarray")
    functions = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ]
    dtypes = [type(np.dtype(code)) for code in _DTYPES]
    return [*_FUNCTIONS, (_checkpoint_getattr, "builtins.getattr"), *functions, np.ndarray, np.dtype, *dtypes]


def allow_checkpoint_globals() -> None:
    """Let ``torch.load(..., weights_only=True)`` read mmengine checkpoints, for the rest of the process.

    mmengine calls ``torch.load`` itself, so the list must be in force process-wide before ``Runner.resume``. It
    holds :func:`checkpoint_globals` and nothing else.
    """
    torch.serialization.add_safe_globals(checkpoint_globals())


def load_resumable(path: str | Path, required: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """Read a training checkpoint (``meta``, ``state_dict``, ``optimizer``, ``message_hub``) onto the CPU.

    Args:
        required: what it must hold; ``("state_dict",)`` lets a best checkpoint through, which has weights alone.

    Raises:
        CheckpointError: the file is missing, truncated, holds forbidden globals or lacks what is required.
    """
    # Leaving safe_globals() forbids what it allowed, also where allow_checkpoint_globals() had allowed it for good.
    allowed = torch.serialization.get_safe_globals()
    try:
        with torch.serialization.safe_globals([entry for entry in checkpoint_globals() if entry not in allowed]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises any of a dozen types for a broken file
        raise CheckpointError(f"{path}: unreadable checkpoint ({type(error).__name__}: {error})") from error
    missing = [key for key in required if not isinstance(checkpoint, dict) or key not in checkpoint]
    if missing:
        raise CheckpointError(f"{path}: no training checkpoint, lacks {', '.join(missing)}")
    return checkpoint


def last_saved(work_dir: str | Path) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, where both exist; a work dir may have moved since."""
    try:
        named = Path(Path(work_dir, POINTER).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return None
    for candidate in (named, Path(work_dir) / named.name):
        if named.name and candidate.is_file():
            return candidate
    return None


def find_latest(work_dir: str | Path) -> Path | None:
    """The newest checkpoint in ``work_dir`` that training can resume from, or None where there is none.

    Tries the file that ``last_checkpoint`` names, then every ``iter_N.pth`` and ``epoch_N.pth``, newest first. A file
    that cannot be read is skipped with a warning that names it and the reason.

    Raises:
        CheckpointError: there are checkpoints and none can be read; to start anew would overwrite them.
    """
    directory = Path(work_dir)
    steps = {path: int(match[1]) for path in directory.glob("*.pth") if (match := _NUMBERED.fullmatch(path.name))}
    numbered = sorted(steps, key=lambda path: (path.stat().st_mtime_ns, steps[path]), reverse=True)
    pointed = last_saved(directory)
    if pointed is None and numbered:
        _warn(f"{directory / POINTER}: missing or broken; trying the checkpoints beside it, newest first")
    candidates = list(dict.fromkeys([*([pointed] if pointed else []), *numbered]))
    for path in candidates:
        try:
            load_resumable(path)
        except CheckpointError as error:
            _warn(f"skipped, {error}")
        else:
            return path
    if candidates:
        raise CheckpointError(
            f"{directory}: none of {len(candidates)} checkpoints can be read "
            f"({', '.join(path.name for path in candidates)}); move them away or choose another work_dir to start anew"
        )
    return None


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
