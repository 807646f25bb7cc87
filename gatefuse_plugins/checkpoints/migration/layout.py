"""How a checkpoint file is built: where its weights lie, and what else lies beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from gatefuse_plugins.checkpoints.reader import Checkpoint

TRAINING = ("optimizer", "optimizer_state_dict", "lr_scheduler", "param_schedulers", "message_hub")


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())


def scattered(content: Any, prefix: str = "", depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested dicts, training state left out, by their path."""
    if not isinstance(content, Mapping) or not depth:
        return
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif key not in TRAINING:
            yield from scattered(value, f"{prefix}{key}.", depth - 1)


def layout(content: Mapping[str, Any], checkpoint: Checkpoint, safetensors: bool) -> str:
    """How a file is built, in words."""
    if safetensors:
        return "safetensors"
    if checkpoint.origin == "mmengine":
        return "mmengine"
    for key, value in content.items():
        if isinstance(value, Mapping) and len(value) == len(checkpoint.state_dict) and key not in TRAINING:
            others = [
                repr(name) for name, item in content.items() if name not in (key, *TRAINING) and _holds_tensors(item)
            ]
            beside = f"; not looked at: those under {', '.join(others)}" if others else ""
            return f"torch.save, weights under {key!r}{beside}"
    return "torch.save, a bare state dict"
