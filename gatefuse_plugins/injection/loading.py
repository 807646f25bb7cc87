"""Rules from a file: YAML and JSON are data alone, a Python config is run."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from gatefuse_plugins.config.loading import load_config
from gatefuse_plugins.config.overrides import Overrides
from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.files import read_json

SUFFIXES = (".yaml", ".yml", ".json", ".py")


class _UniqueKeyLoader(yaml.SafeLoader):
    """Plain values only, and no key twice: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _value in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load_injection(path: str | os.PathLike[str], overrides: Overrides = None) -> list[dict[str, Any]]:
    """The rules of a config file, as plain dicts.

    They stand under ``injection``, or, in a config of this project's training, under ``model.injection``.

    Args:
        path: ``.yaml``, ``.yml`` or ``.json`` (nothing in it is run), or ``.py`` (an mmengine config, which is code).
        overrides: of a ``.py`` config, see :func:`~gatefuse_plugins.config.load_config`.

    Raises:
        ConfigError: no such file; not valid YAML; a tag that would run code; a key that stands twice; no rules in it.
        DataError: not valid JSON.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: {path.suffix or 'no suffix'} is no config; expected one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        siblings = [str(other) for suffix in SUFFIXES for other in path.parent.glob(f"*{suffix}")]
        raise ConfigError(f"{path}: no such file{suggestion(str(path), siblings)}")
    if path.suffix == ".py":
        content: Any = load_config(path, overrides).to_dict()
    elif overrides:
        raise ConfigError(f"{path}: overrides are for Python configs; edit the file")
    else:
        content = read_json(path, partial(_unique_keys, path)) if path.suffix == ".json" else _read_yaml(path)
    rules = content
    if isinstance(content, Mapping):
        model = content.get("model")
        rules = content.get("injection", model.get("injection") if isinstance(model, Mapping) else None)
    if not isinstance(rules, list) or not rules:
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ConfigError(f"{path}: no list of rules under 'injection'; found {found or 'nothing'}")
    return [dict(rule) if isinstance(rule, Mapping) else rule for rule in rules]


def _unique_keys(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _value in pairs]
    if twice := next((key for at, key in enumerate(keys) if key in keys[:at]), None):
        raise ConfigError(f"{path}: key {twice!r} stands twice in one object; the second would silently win")
    return dict(pairs)


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except yaml.constructor.ConstructorError as error:
        hint = "; tags that build objects are refused: write plain values" if "python/" in str(error) else ""
        raise ConfigError(f"{path}: {error}{hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
