"""One reader for every checkpoint layout in use.

==================  ==============================================================================
origin              recognised by
==================  ==============================================================================
``mmengine``        ``state_dict`` beside a ``meta`` or ``message_hub`` entry
``qd_detr``         keys ``transformer.t2v_encoder.*`` or ``saliency_proj1.*`` (QD-DETR and forks)
``sprc``            ``query_tokens`` and ``prompt_tokens``, or a state dict under a class name
``lavis``           ``query_tokens`` and ``Qformer.*`` without ``prompt_tokens`` (BLIP-2)
``avigate``         ``transformer_Fusion.*``, or ``clip.*`` with ``frame_position_embeddings.weight``
``state_dict``      none of these
==================  ==============================================================================

Contents decide, never the file's name.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from gatefuse_plugins.checkpoints.pickles import read_file
from gatefuse_plugins.checkpoints.safety.values import listed, non_finite, odd_names
from gatefuse_plugins.errors import CheckpointError

_STATE_KEYS = ("state_dict", "model")
# Entries that only resuming needs; left out of `meta`, for an optimizer's moments weigh twice the model.
_TRAINING_STATE = ("optimizer", "optimizer_state_dict", "lr_scheduler", "param_schedulers", "message_hub", "scaler")
_CLASS_NAME = re.compile(r"[A-Z][A-Za-z0-9_]*")
_DATA_PARALLEL = "module."


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's weights and what is known about them.

    Attributes:
        state_dict: parameter name to CPU tensor, without the ``module.`` prefix of (distributed) data parallel.
        origin: who wrote it, see the module's table.
        meta: the file's other plain entries (``epoch``, ``opt``, mmengine's ``meta`` unfolded), no training state.
        path: where it was read from.
    """

    state_dict: dict[str, Tensor]
    origin: str
    meta: dict[str, Any] = field(default_factory=dict)
    path: Path = Path()

    @cached_property
    def non_finite(self) -> dict[str, int]:
        """Name and count of NaN and infinite weights, for every tensor that holds any; empty for a sound file."""
        return non_finite(self.state_dict)


def read_checkpoint(path: str | os.PathLike[str], trust: bool = False) -> Checkpoint:
    """Read any checkpoint of the module's table, onto the CPU. Weights that are NaN or infinite are logged.

    Args:
        path: file written by ``torch.save`` (zip or legacy format) or safetensors.
        trust: unpickle without restrictions, which runs whatever code the file carries.

    Raises:
        CheckpointError: the file cannot be read, needs an unsafe global, or holds no single state dict.
    """
    path = Path(path)
    checkpoint = unfold(read_file(path, trust), path)
    if odd := checkpoint.non_finite:
        tensors = f"{len(odd)} of {len(checkpoint.state_dict)} tensors"
        print_log(f"{path}: NaN or infinite values in {tensors}: {listed(odd, 5)}", "current", logging.WARNING)
    return checkpoint


def unfold(content: Any, path: Path) -> Checkpoint:
    """The checkpoint inside the object that a file held.

    Raises:
        CheckpointError: it holds no single state dict.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}; expected a dict of tensors, or a dict with one inside"
        )
    key = _state_key(content, path)
    state = dict(content) if key is None else dict(content[key])
    if odd := odd_names(state):
        raise CheckpointError(
            f"{path}: {len(odd)} of {len(state)} tensors have names that no parameter has, {odd[0][:80]!r} first;"
            " expected names joined by dots"
        )
    state = _without_data_parallel_prefix(state)
    meta = {} if key is None else _meta(content, key)
    return Checkpoint(state, _origin(content, key, state), meta, path)


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _state_key(content: Mapping[Any, Any], path: Path) -> str | None:
    """Name of the entry that holds the state dict; ``None`` where the whole file is one.

    Raises:
        CheckpointError: there is none, or there are several.
    """
    if _is_state_dict(content):
        return None
    for key in _STATE_KEYS:
        if _is_state_dict(content.get(key)):
            return key
    found = [key for key, value in content.items() if key not in _TRAINING_STATE and _is_state_dict(value)]
    if len(found) == 1:
        return str(found[0])
    entries = ", ".join(repr(key) for key in list(content)[:12]) or "nothing"
    if found:
        raise CheckpointError(
            f"{path}: several entries hold a state dict ({', '.join(map(repr, found))}); expected one, or the"
            " weights under 'state_dict' or 'model'"
        )
    if any(key in content for key in ("optimizer_state_dict", "optimizer")):
        raise CheckpointError(
            f"{path}: holds an optimizer's state and no weights (entries: {entries}); the weights lie in another file,"
            " pytorch_model.bin.N where this one is pytorch_opt.bin.N"
        )
    raise CheckpointError(
        f"{path}: holds no state dict (entries: {entries}); expected tensors by name, alone or under 'state_dict',"
        " 'model' or the model's class name"
    )


def _without_data_parallel_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if not all(name.startswith(_DATA_PARALLEL) for name in state):
        return state
    return {name.removeprefix(_DATA_PARALLEL): tensor for name, tensor in state.items()}


def _meta(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    meta = {name: value for name, value in content.items() if name != key and name not in _TRAINING_STATE}
    nested = meta.pop("meta", None)
    if isinstance(nested, Mapping):
        meta.update(nested)
    elif nested is not None:
        meta["meta"] = nested
    return meta


def _origin(content: Mapping[str, Any], key: str | None, state: dict[str, Tensor]) -> str:
    if key == "state_dict" and ("meta" in content or "message_hub" in content):
        return "mmengine"
    tops = {name.split(".", 1)[0] for name in state}
    if "saliency_proj1" in tops or any(name.startswith("transformer.t2v_encoder.") for name in state):
        return "qd_detr"
    if {"query_tokens", "prompt_tokens"} <= tops:
        return "sprc"
    if {"query_tokens", "Qformer"} <= tops:
        return "lavis"
    if "transformer_Fusion" in tops or {"clip", "frame_position_embeddings"} <= tops:
        return "avigate"
    if key is not None and key not in _STATE_KEYS and _CLASS_NAME.fullmatch(key):
        return "sprc"
    return "state_dict"
