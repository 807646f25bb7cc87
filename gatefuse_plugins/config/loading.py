"""From a config file and overrides to one resolved config."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.config import Config

from gatefuse_plugins.config.interpolation import resolve
from gatefuse_plugins.config.overrides import Overrides, merge_overrides, override_faults, parse_overrides
from gatefuse_plugins.errors import ConfigError, suggestion


def load_config(path: str | os.PathLike[str], overrides: Overrides = None) -> Config:
    """Run a config file, merge ``overrides``, then resolve ``${key}`` references over the whole.

    mmengine merges overrides after the file was run, so a Python expression in the file never sees them; a reference
    does. ``${backbones.${backbone}.vision}`` therefore follows ``--cfg-options backbone=pretrain``.

    Args:
        path: a config file (Python, YAML or JSON) in mmengine's text style.
        overrides: ``["model.fusion.alpha_init=0.1"]`` as from ``--cfg-options``, or a dict, dotted or nested.

    Raises:
        ConfigError: no such file; malformed override; override of a key that neither the config nor the component
            there has; unresolvable reference. All overrides and references are judged before it is raised.
    """
    path = Path(path)
    if not path.is_file():
        siblings = [str(other) for other in path.parent.glob(f"*{path.suffix or '.py'}")]
        raise ConfigError(f"{path}: no such config file{suggestion(str(path), siblings)}")
    try:
        cfg = Config.fromfile(path)
    except (SyntaxError, NameError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be run as a config: {type(error).__name__}: {error}") from error
    options = parse_overrides(overrides)
    before = cfg.to_dict()
    merge_overrides(cfg, options)
    resolved, faults = resolve(cfg.to_dict())
    faults = override_faults(options, resolve(before)[0], resolved) + faults
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"{path}: {len(faults)} fault{'s' * (len(faults) > 1)}\n{listed}")
    return Config(resolved, cfg_text=cfg.text, filename=cfg.filename, env_variables=cfg.env_variables)
