"""AST's weights in a local folder, as any release of transformers stores them, under the names used here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from gatefuse_plugins.errors import CheckpointError, suggestion

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"

NEWER_LAYER = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
"""Modules of a layer: name in memory of transformers 5 -> name here, which is that of transformers 4."""

BODY = "audio_spectrogram_transformer."
"""Prefix in files of a model with a classifier, as the published ones are."""

CLASSIFIER = "classifier."
"""Prefix of what has no part in retrieval."""


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Tensors of ``model.safetensors`` or else ``pytorch_model.bin``, of which nothing but tensors is read.

    Raises:
        CheckpointError: there is neither file, it cannot be read, or it holds something else.
    """
    found = [name for name in (SAFE, PICKLED) if (folder / name).is_file()]
    if not found:
        raise CheckpointError(f"{folder} holds neither {SAFE} nor {PICKLED}; a file in several parts has to be joined")
    path = folder / found[0]
    try:
        if path.name == SAFE:
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, expected tensors by name")
    return dict(state)


def rename(stored: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """Weights of transformers 4 or 5, with or without a classifier, under the names ``own``; the classifier is dropped.

    Raises:
        CheckpointError: names that AST has not, all at once.
    """
    names = {name: _own_name(name) for name in stored if not name.startswith(CLASSIFIER)}
    known = set(own)
    if unknown := [name for name, target in names.items() if target not in known]:
        raise CheckpointError(
            f"{len(unknown)} names are none of this AST's: {', '.join(unknown[:5])}{suggestion(unknown[0], known)}"
        )
    return {target: stored[name] for name, target in names.items()}


def _own_name(name: str) -> str:
    name = name.removeprefix(BODY)
    found = re.fullmatch(r"layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if found is None:
        return name
    return f"encoder.layer.{found[1]}.{NEWER_LAYER.get(found[2], found[2])}.{found[3]}"
