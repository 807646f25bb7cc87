"""Features of the frozen encoders of text-video retrieval, computed once; the model then does without the encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process
from torch import nn

from gatefuse_plugins.data.cache_builder import module_digest
from gatefuse_plugins.data.msrvtt.features import build_clip_features
from gatefuse_plugins.data.progress import progress_bar
from gatefuse_plugins.errors import CheckpointError, ConfigError, suggestion
from gatefuse_plugins.registry import DATASETS, MODELS

MODALITIES = {"frame_encoder": "video", "audio_encoder": "audio"}
"""Encoders whose output can be stored, and what they encode; captions are too short to be worth it."""


def prepare_clip_features(cfg: Config, datasets: Sequence[ConfigDict]) -> dict[str, str]:
    """Encode the clips of ``datasets`` with the encoders that ``cfg.features.encoders`` names.

    Sets ``video_features`` and ``audio_features`` of the datasets, and ``cfg.model`` to have neither the encoders nor
    patterns that freeze parts of them.

    Returns:
        Encoder name to the digest of its weights.

    Raises:
        ConfigError: an unknown encoder, or one that the model lacks or that would be stored untrained.
        DataError: clips that cannot be read; see :func:`build_clip_features`.
    """
    options, digests = cfg.features, {}
    for name in options.encoders:
        encoder = _encoder(cfg, name)
        digests[name] = module_digest(encoder)
        for dataset in datasets:
            if dataset.get("use_audio", True) or MODALITIES[name] != "audio":
                dataset[f"{MODALITIES[name]}_features"] = str(_build(options, dataset, name, encoder, digests[name]))
    for name in options.encoders:
        cfg.model[name] = None
    gone = tuple(f"{name}." for name in options.encoders)
    cfg.model.frozen = [pattern for pattern in cfg.model.get("frozen") or () if not pattern.startswith(gone)]
    return digests


def _encoder(cfg: Config, name: str) -> nn.Module:
    if name not in MODALITIES:
        raise ConfigError(f"features.encoders: {name!r} is unknown{suggestion(name, MODALITIES)}")
    config = cfg.model.get(name)
    if not config:
        raise ConfigError(f"features.encoders: {name!r}, but model.{name} is {config!r}; there is nothing to store")
    if not config.get("weights"):
        raise ConfigError(
            f"features.encoders: {name!r} is stored as it is and not trained any more, so model.{name} needs weights="
            f"FOLDER; leave {name!r} out to train it"
        )
    with torch.random.fork_rng():  # layers that the weights lack are the same in training and test
        torch.manual_seed(0)
        return MODELS.build(dict(config))


def _build(options: Mapping[str, Any], dataset: ConfigDict, name: str, encoder: nn.Module, digest: str) -> Path:
    clips = DATASETS.build(dataset)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments = (options["root"], clips.clips, MODALITIES[name], encoder, digest, options.get("dtype", "float16"))
    if is_main_process():
        with progress_bar(f"{name} on {clips.subject}") as progress:
            build_clip_features(*arguments, device=device, progress=progress)
    barrier()
    return build_clip_features(*arguments, device=device)  # nothing is left to compute


def check_clip_features(meta: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that was trained on features of other encoders.

    Args:
        meta: the checkpoint's.
        identity: as :func:`~gatefuse_plugins.engine.prepare.prepare` returns it.

    Raises:
        CheckpointError: the digests differ, or one of them read clips and the other features.
    """
    if "dataset_identity" not in meta:  # weights of another project
        return
    trained, here = ((found or {}).get("features") or {} for found in (meta["dataset_identity"], identity))
    if trained != here:
        stated = [", ".join(f"{k} {v[:12]}" for k, v in found.items()) or "none" for found in (trained, here)]
        raise CheckpointError(
            f"the checkpoint was trained on features of {stated[0]}, but this config reads features of {stated[1]}; set"
            " features.encoders and the weights of these encoders as in that run"
        )
