"""What has to stand on disk before a Runner is built: data, and for composed retrieval vision weights and features.

Everything is decided from the resolved config; only paths are written back into it. Nothing here depends on the clock
or on chance, so two preparations of one config are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from gatefuse_plugins.engine.locate_data import DataPlace, locate_data
from gatefuse_plugins.engine.prepare_features import build_bare, make_embedded, prepare_features, prepare_vision
from gatefuse_plugins.engine.runner import notices
from gatefuse_plugins.errors import ConfigError

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def prepare(cfg: Config, vision_state: Mapping[str, torch.Tensor] | None = None) -> dict[str, Any]:
    """Make data, vision weights and feature caches ready and write their paths into ``cfg``.

    Args:
        cfg: resolved config with ``dataset``, ``data_root`` and ``embedded`` at the top level, and ``features`` where
            the model has a frozen vision encoder.
        vision_state: weights of the frozen encoder as a checkpoint carries them; they win over pre-training.

    Returns:
        The dataset's identity (also set as ``cfg.dataset_identity``).

    Raises:
        ConfigError, DataError, WeightsUnavailableError: as the parts raise them, before any training starts.
    """
    place = locate_data(cfg)
    if is_main_process() and place.embedded:
        make_embedded(place.kind, cfg.embedded)
    barrier()
    for dataset in datasets(cfg):
        dataset["data_root"] = str(place.root)
    identity = dict(build_bare(evaluated_dataset(cfg)).metainfo["identity"])
    cfg.dataset_identity = identity
    _announce(place, identity)
    if cfg.model.get("vision"):
        prepare_vision(cfg, vision_state)
        if cfg.get("features") and cfg.features.get("enabled", True):
            prepare_features(cfg, list(datasets(cfg)))
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
