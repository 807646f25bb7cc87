"""The config that a checkpoint is to be migrated to."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmengine.config import Config

from gatefuse_plugins.checkpoints.migration.plan import make_plan
from gatefuse_plugins.checkpoints.migration.source import Source
from gatefuse_plugins.config import load_config
from gatefuse_plugins.errors import ConfigError, GatefuseError

_CHOICES = (("profile", "profiles"), ("backbone", "backbones"))
"""Keys of our configs that pick sizes, and the tables that they pick from."""


def load_target(
    path: str | os.PathLike[str], options: Sequence[str] | None, source: Source
) -> tuple[Config, list[str]]:
    """The resolved config, and options added to the user's.

    Where a config picks its sizes by ``profile = "auto"``, what data there is does not matter here: the profile that
    the checkpoint fits is taken.

    Raises:
        ConfigError: a fault of config or options; the config has no model.
    """
    config = load_config(path, options)
    if "model" not in config:
        raise ConfigError(f"{path}: has no model; expected a config of this project, such as those in configs/")
    added = []
    if config.get("profile") == "auto":
        added = [f"profile={_best(path, options, source, config, 'profile', 'profiles')}"]
        config = load_config(path, [*(options or ()), *added])
    return config, added


def better_choices(path: str | os.PathLike[str], options: Sequence[str] | None, source: Source) -> list[str]:
    """Options (``backbone=pretrain``) of a config that would fit ``source`` better than the ones chosen."""
    config = load_config(path, options)
    better = []
    for key, table in _CHOICES:
        if isinstance(config.get(table), dict) and config.get(key) != "auto":
            best = _best(path, options, source, config, key, table)
            if best != config[key]:
                better.append(f"{key}={best}")
    return better


def _best(
    path: str | os.PathLike[str],
    options: Sequence[str] | None,
    source: Source,
    config: Config,
    key: str,
    table: str,
) -> str:
    """The entry of ``table`` with the fewest conflicts; of equals the current one."""
    names = [name for name in config[table] if name != "auto"]
    counts = {}
    for name in sorted(names, key=lambda name: name != config.get(key)):
        try:
            model = load_config(path, [*(options or ()), f"{key}={name}"]).model.to_dict()
            counts[name] = len(make_plan(source, model).named("conflicting"))
        except GatefuseError:
            counts[name] = len(source.state) + 1
    return min(counts, key=lambda name: counts[name])
