"""Embedded data, and the frozen vision encoder of composed retrieval: its weights, and its tokens on disk."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from safetensors.torch import save

from gatefuse_plugins.config.signatures import parameters_of
from gatefuse_plugins.data.cache_builder import build_feature_cache, module_digest
from gatefuse_plugins.data.progress import progress_bar
from gatefuse_plugins.engine.data_kinds import data_kind
from gatefuse_plugins.engine.pretrain_vision import load_or_pretrain
from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.files import atomic_writer, exclusive
from gatefuse_plugins.registry import DATASETS, MODELS

_CARRIED_PARAMETERS = 4_000_000
"""A frozen encoder of up to so many is carried in every checkpoint."""


def make_embedded(kind: str, options: Mapping[str, Any]) -> Path:
    """Write the embedded set that ``options`` (its ``root`` and sizes) describe, unless it is there; returns its root.

    Runs that start at the same time wait for the one that writes.
    """
    sizes = {key: value for key, value in options.items() if key != "root"}
    root = Path(options["root"])
    with exclusive(f"{root}.lock"), progress_bar(f"embedded set for {kind}") as progress:
        data_kind(kind).make(root, sizes, progress)
    return root


def build_bare(dataset: Mapping[str, Any]) -> Any:
    """The dataset with its annotations alone: no pictures are opened for it."""
    options = {**dataset, **{key: None for key in ("features", "transform") if key in dataset}}
    if "annotations_only" in parameters_of(DATASETS.get(dataset["type"])).accepted:
        options["annotations_only"] = True
    return DATASETS.build(options)


def prepare_vision(cfg: Config, state: Mapping[str, torch.Tensor] | None) -> None:
    """Give the tiny encoder its weights: from the checkpoint, else by pre-training on embedded scenes."""
    vision = cfg.model.vision
    if vision.type.rpartition(".")[2] != "TinyPatchEncoder" or vision.get("weights"):
        return
    scenes = cfg.prepare.vision_scenes
    if state is not None:
        path = _write_state(Path(cfg.features.root), state)
    else:
        if is_main_process():
            root = make_embedded("cirr", scenes)
            with exclusive(f"{root}.lock"), progress_bar("pre-training the tiny vision encoder") as progress:
                load_or_pretrain(
                    root,
                    dict(vision),
                    **cfg.prepare.vision_training,
                    progress=lambda done, total, loss: progress(done, total),
                    report=lambda accuracy: print_log(f"vision encoder, held-out accuracy: {accuracy}", "current"),
                )
        barrier()
        path = load_or_pretrain(Path(scenes.root), dict(vision), **cfg.prepare.vision_training)
    vision["weights"] = str(path)


def _write_state(root: Path, state: Mapping[str, torch.Tensor]) -> Path:
    payload = save({name: tensor.contiguous() for name, tensor in state.items()})
    path = root / "vision" / f"from-checkpoint-{hashlib.sha256(payload).hexdigest()[:16]}.safetensors"
    if not path.is_file() and is_main_process():
        with atomic_writer(path) as stream:
            stream.write(payload)
    barrier()
    return path


def prepare_features(cfg: Config, datasets: Sequence[ConfigDict]) -> None:
    """Compute each image's tokens once, and let the model do without the encoder from here on."""
    options = cfg.features
    encoder_config = copy.deepcopy(dict(cfg.model.vision))
    encoder = MODELS.build(encoder_config)
    digest = module_digest(encoder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for dataset in datasets:
        bare = build_bare(dataset)
        if is_main_process():
            with progress_bar(f"vision tokens of {bare.subject}") as progress:
                path = build_feature_cache(
                    options.root,
                    encoder.to(device),
                    digest,
                    bare.image_paths,
                    dataset.transform,
                    dtype=options.get("dtype", "float16"),
                    batch_size=options.get("batch_size", 64),
                    device=device,
                    num_workers=options.get("num_workers", 0),
                    progress=progress,
                )
        barrier()
        if not is_main_process():
            path = build_feature_cache(
                options.root, encoder, digest, bare.image_paths, dataset.transform, options.get("dtype", "float16")
            )
        dataset["features"] = str(path)
    cfg.prepared_vision = {"config": encoder_config, "digest": digest}
    cfg.model.vision = ConfigDict(
        type="CachedVision",
        num_features=int(encoder.num_features),
        num_tokens=int(encoder.num_tokens),
        image_size=int(encoder.image_size),
        digest=digest,
    )
    if sum(p.numel() for p in encoder.parameters()) <= _CARRIED_PARAMETERS:
        cfg.custom_hooks = [*cfg.get("custom_hooks", []), _stamp(encoder_config, digest)]


def _stamp(encoder_config: Mapping[str, Any], digest: str) -> dict[str, Any]:
    weights = encoder_config.get("weights")
    if weights is None:
        raise ConfigError("model.vision.weights: a small frozen encoder needs weights to be carried in checkpoints")
    return {"type": "gatefuse.VisionStampHook", "weights": weights, "digest": digest}


def check_vision(meta: Mapping[str, Any], cfg: Config) -> None:
    """Refuse a checkpoint that was trained on another encoder's tokens.

    Raises:
        CheckpointError: the digests differ.
    """
    trained, here = meta.get("vision_digest"), (cfg.get("prepared_vision") or {}).get("digest")
    if trained and here and trained != here:
        raise CheckpointError(
            f"the checkpoint was trained on tokens of vision encoder {trained[:12]}, but model.vision is {here[:12]};"
            " set model.vision.weights to the encoder of that run"
        )
