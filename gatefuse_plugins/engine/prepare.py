"""What has to stand on disk before a Runner is built: data, vision weights and frozen features.

Everything is decided from the resolved config; only paths are written back into it. Nothing here depends on the clock
or on chance, so two preparations of one config are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from gatefuse_plugins.data.cache_builder import build_feature_cache, module_digest, progress_bar
from gatefuse_plugins.data.scenes import SceneSetConfig, make_cirr_scenes, make_fashioniq_scenes
from gatefuse_plugins.engine.locate_data import DataPlace, locate_data
from gatefuse_plugins.engine.pretrain_vision import load_or_pretrain
from gatefuse_plugins.engine.runner import notices
from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.registry import DATASETS, MODELS

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
MAKERS = {"cirr": make_cirr_scenes, "fashioniq": make_fashioniq_scenes}


def prepare(cfg: Config, vision_state: Mapping[str, torch.Tensor] | None = None) -> dict[str, Any]:
    """Make data, vision weights and feature caches ready and write their paths into ``cfg``.

    Args:
        cfg: resolved config with ``dataset``, ``data_root``, ``embedded`` and ``features`` at the top level.
        vision_state: weights of the frozen encoder as a checkpoint carries them; they win over pre-training.

    Returns:
        The dataset's identity (also set as ``cfg.dataset_identity``).

    Raises:
        ConfigError, DataError, WeightsUnavailableError: as the parts raise them, before any training starts.
    """
    place = locate_data(cfg)
    if is_main_process() and place.embedded:
        _make_scenes(place.kind, place.root, cfg.embedded)
    barrier()
    for dataset in datasets(cfg):
        dataset["data_root"] = str(place.root)
    evaluated = DATASETS.build(dict(evaluated_dataset(cfg), features=None, transform=None))
    identity = dict(evaluated.metainfo["identity"])
    cfg.dataset_identity = identity
    _announce(place, identity)
    _prepare_vision(cfg, vision_state)
    if cfg.get("features") and cfg.features.get("enabled", True):
        _prepare_features(cfg)
    return identity


def datasets(cfg: Config) -> Iterator[ConfigDict]:
    """The dataset config of every dataloader, a shared one once."""
    seen: set[int] = set()
    for name in LOADERS:
        loader = cfg.get(name)
        if loader and id(loader.dataset) not in seen:
            seen.add(id(loader.dataset))
            yield loader.dataset


def evaluated_dataset(cfg: Config) -> ConfigDict:
    """The dataset that the metrics are about: of the test loader, else of validation, else what is trained on."""
    for name in reversed(LOADERS):
        if loader := cfg.get(name):
            return loader.dataset
    raise ConfigError(f"no dataset: expected one of {', '.join(LOADERS)}")


def _announce(place: DataPlace, identity: Mapping[str, Any]) -> None:
    level, lines = notices(identity, place.kind)
    for line in (f"data at {place.root} ({place.reason})", *lines):
        print_log(line, logger="current", level=level)


def _make_scenes(kind: str, root: Path, options: Mapping[str, Any]) -> None:
    sizes = {key: value for key, value in options.items() if key != "root"}
    with progress_bar(f"scenes {kind}") as progress:
        MAKERS[kind](root, SceneSetConfig(**sizes), progress)


def _prepare_vision(cfg: Config, state: Mapping[str, torch.Tensor] | None) -> None:
    """Give the tiny encoder its weights: from the checkpoint, else by pre-training on embedded scenes."""
    vision = cfg.model.vision
    if vision.type.rpartition(".")[2] != "TinyPatchEncoder" or vision.get("weights"):
        return
    scenes = cfg.prepare.vision_scenes
    if state is not None:
        path = _write_state(Path(cfg.features.root), state)
    else:
        if is_main_process():
            root = Path(scenes.root)
            _make_scenes("cirr", root, scenes)
            with progress_bar("pre-training the tiny vision encoder") as progress:
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
    import hashlib

    from safetensors.torch import save

    from gatefuse_plugins.files import atomic_writer

    payload = save({name: tensor.contiguous() for name, tensor in state.items()})
    path = root / "vision" / f"from-checkpoint-{hashlib.sha256(payload).hexdigest()[:16]}.safetensors"
    if not path.is_file() and is_main_process():
        with atomic_writer(path) as stream:
            stream.write(payload)
    barrier()
    return path


def _prepare_features(cfg: Config) -> None:
    """Compute each image's tokens once, and let the model do without the encoder from here on."""
    options = cfg.features
    encoder_config = copy.deepcopy(dict(cfg.model.vision))
    encoder = MODELS.build(encoder_config)
    digest = module_digest(encoder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # keyed by identity of what is read, so that train and val of one split share a pass
    for dataset in datasets(cfg):
        bare = DATASETS.build(dict(dataset, features=None, transform=None))
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
    if sum(p.numel() for p in encoder.parameters()) <= options.get("carry_vision_up_to", 4_000_000):
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
