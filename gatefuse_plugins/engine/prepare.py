"""What has to stand on disk before a Runner is built: data, and weights and features of frozen encoders.

Everything is decided from the resolved config; only paths are written back into it. Nothing here depends on the clock
or on chance, so two preparations of one config are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from gatefuse_plugins.engine.locate_data import DataPlace, locate_data
from gatefuse_plugins.engine.prepare_clips import prepare_clip_features
from gatefuse_plugins.engine.prepare_features import build_bare, make_embedded, prepare_features, prepare_vision
from gatefuse_plugins.engine.runner import notices
from gatefuse_plugins.errors import ConfigError

LOADERS = ("val_dataloader", "test_dataloader", "train_dataloader")
"""The first of them that a config has holds the data set that a training run's metrics are about."""
TESTING = ("test_dataloader",)


def prepare(
    cfg: Config, vision_state: Mapping[str, torch.Tensor] | None = None, loaders: Sequence[str] = LOADERS
) -> dict[str, Any]:
    """Make data, vision weights and feature caches ready and write their paths into ``cfg``.

    Args:
        cfg: resolved config with ``dataset``, ``data_root`` and ``embedded`` at the top level, and ``features`` where
            the model has a frozen vision encoder.
        vision_state: weights of the frozen encoder as a checkpoint carries them; they win over pre-training.
        loaders: the dataloaders that will be used, the one that the metrics are about first; ``TESTING`` for a test.

    Returns:
        The dataset's identity (also set as ``cfg.dataset_identity``), with ``features`` (encoder to digest) where
        clips are read as features.

    Raises:
        ConfigError, DataError, WeightsUnavailableError: as the parts raise them, before any training starts.
    """
    place = locate_data(cfg)
    if is_main_process() and place.stands_in:
        make_embedded(place.kind, cfg.embedded)
    barrier()
    used = list(datasets(cfg, loaders))
    if not used:
        raise ConfigError(f"no dataset: expected one of {', '.join(loaders)}")
    for dataset in used:
        dataset["data_root"] = str(place.root)
    identity = dict(build_bare(used[0]).metainfo["identity"])
    cfg.dataset_identity = identity
    _announce(place, identity)
    if cfg.model.get("vision"):
        prepare_vision(cfg, vision_state)
        if cfg.get("features") and cfg.features.get("enabled", True):
            prepare_features(cfg, used)
    elif cfg.get("features") and cfg.features.get("encoders"):
        identity["features"] = prepare_clip_features(cfg, used)
        cfg.dataset_identity = identity
    return identity


def datasets(cfg: Config, loaders: Sequence[str] = LOADERS) -> Iterator[ConfigDict]:
    """The dataset config of every one of ``loaders``, a shared one once."""
    seen: set[int] = set()
    for name in loaders:
        loader = cfg.get(name)
        if loader and id(loader.dataset) not in seen:
            seen.add(id(loader.dataset))
            yield loader.dataset


def _announce(place: DataPlace, identity: Mapping[str, Any]) -> None:
    level, lines = notices(identity, place.kind)
    for line in (f"data at {place.root} ({place.reason})", *lines):
        print_log(line, logger="current", level=level)
