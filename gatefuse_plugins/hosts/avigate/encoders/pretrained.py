"""Loads parts of published models from local folders, with nothing left to chance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from gatefuse_plugins.errors import CheckpointError, ConfigError, WeightsUnavailableError, suggestion

_WEIGHT_FILES = ("pytorch_model.bin", "model.safetensors", "pytorch_model.bin.index.json")


def build_pretrained(owner: str, model_class: Any, config: Any, weights: str | None, section: str | None) -> nn.Module:
    """``model_class(config)``, with the weights of a folder where one is given.

    Args:
        owner: class that asks, for messages.
        config: the sizes that the caller wants; those of the folder must be equal. What else the folder says of the
            computation (activation, eps of the norms) is taken from there.
        weights: folder with ``config.json`` and weights in the format of transformers; ``None`` leaves the random
            initialisation, for a checkpoint to replace.
        section: name of the part's section in a ``config.json`` that describes several parts, as CLIP's does.

    Raises:
        WeightsUnavailableError: no such folder, or files are missing from it.
        ConfigError: the folder's sizes are not the caller's.
        CheckpointError: the files cannot be read, or lack some of the weights.
    """
    if weights is None:
        return model_class(config)
    folder = Path(weights).expanduser()
    _require_files(owner, weights, folder, ("config.json",))
    if not any((folder / name).is_file() for name in _WEIGHT_FILES):
        raise WeightsUnavailableError(f"{owner}: weights={weights!r} lacks any of {', '.join(_WEIGHT_FILES)}")
    stated = _stated_sizes(owner, folder / "config.json", section)
    differing = {
        key: (stated[key], value)
        for key, value in vars(config).items()
        if key in _SIZES and key in stated and stated[key] != value
    }
    if differing:
        listed = "; ".join(f"{key} is {theirs}, given {ours}" for key, (theirs, ours) in differing.items())
        raise ConfigError(f"{owner}: weights={weights!r} are of other sizes: {listed}")
    for key in _COMPUTATION & stated.keys() & vars(config).keys():
        setattr(config, key, stated[key])
    try:
        model, info = model_class.from_pretrained(
            str(folder), config=config, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # each release has its own types for a torn file
        raise CheckpointError(f"{owner}: weights={weights!r} cannot be loaded: {error}") from error
    lacking = sorted(key for key in info["missing_keys"] if not key.endswith("position_ids"))
    if lacking:
        raise CheckpointError(f"{owner}: weights={weights!r} lack {len(lacking)} of the encoder's: {lacking[:5]} ...")
    return model


_SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "projection_dim", "patch_size"),
    *("image_size", "vocab_size", "max_position_embeddings", "max_length", "num_mel_bins"),
    *("frequency_stride", "time_stride"),
)
_COMPUTATION = {"hidden_act", "layer_norm_eps"}
"""Beside sizes: conversions of OpenCLIP's models have another activation than OpenAI's."""


def require_vocabulary(owner: str, vocabulary: str, files: tuple[str, ...]) -> Path:
    """The folder ``vocabulary``; raises :class:`WeightsUnavailableError` where it lacks one of ``files``."""
    folder = Path(vocabulary).expanduser()
    _require_files(owner, vocabulary, folder, files)
    return folder


def _require_files(owner: str, given: str, folder: Path, files: tuple[str, ...]) -> None:
    if not folder.is_dir():
        raise WeightsUnavailableError(f"{owner}: {given!r} is no folder; expected one that holds {', '.join(files)}")
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        near = suggestion(missing[0], [item.name for item in folder.iterdir()])
        raise WeightsUnavailableError(f"{owner}: {given!r} lacks {', '.join(missing)}{near}")


def _stated_sizes(owner: str, path: Path, section: str | None) -> Mapping[str, Any]:
    """What ``config.json`` says of the part; keys that stand at their default there are absent."""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{owner}: {path} cannot be read: {error}") from error
    return stated.get(section, stated) if section is not None else stated
