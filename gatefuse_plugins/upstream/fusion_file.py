"""Fusion configs for hosts without mmengine configs: a YAML or JSON file with a ``fusion:`` section."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gatefuse_plugins.errors import ConfigError, suggestion


def read_fusion_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The file's content, ``${...}`` resolved; its ``fusion`` is a mapping with a ``type``. No code in it is run.

    Raises:
        ConfigError: no such file, not valid YAML, a tag that would build an object, a key that stands twice, or no
            fusion in it.
    """
    path = Path(path)
    if not path.is_file():
        siblings = [str(other) for suffix in ("yaml", "yml", "json") for other in path.parent.glob(f"*.{suffix}")]
        raise ConfigError(f"{path}: no such file{suggestion(str(path), siblings)}")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML or JSON of plain values: {error}") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("fusion"), Mapping):
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ConfigError(f"{path}: no section 'fusion' with the keys of a fusion; found {found or 'nothing'}")
    if "type" not in content["fusion"]:
        raise ConfigError(f"{path}: fusion lacks its 'type', such as AvigateCustomFusion")
    return {str(key): value for key, value in content.items()}
