"""What the patched scripts of chunmeifeng/SPRC call: ``--blip-model-name blip2_cir_gated``, ``--fusion-cfg FILE``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.upstream.fusion_file import read_fusion_file

MODEL_NAME = "blip2_cir_gated"


def register(model_name: str, fusion_cfg: str | None = None) -> None:
    """Make ``blip2_cir_gated`` known to LAVIS, stock or SPRC's edition, with the fusion of a file.

    Args:
        model_name: what ``--blip-model-name`` says.
        fusion_cfg: YAML or JSON file. Its ``fusion`` takes the place of the model type's; all other keys are merged
            over the ``model:`` section of the model type (``vision: {image_size: 224}``).

    Raises:
        ConfigError: a fusion for another model, or a file that cannot be read.
        ImportError: LAVIS is not there.
    """
    if model_name != MODEL_NAME:
        raise ConfigError(
            f"--fusion-cfg {fusion_cfg}: {model_name} takes no fusion; add --blip-model-name {MODEL_NAME}"
        )
    from lavis.common.registry import registry

    from gatefuse_plugins.lavis import Blip2CirGated

    changes = read_fusion_file(fusion_cfg) if fusion_cfg else None
    chosen = Blip2CirGated if changes is None else _configured(Blip2CirGated, changes)
    registry.mapping["model_name_mapping"][MODEL_NAME] = chosen


def _configured(base: Any, changes: Mapping[str, Any]) -> type:
    """``base`` with another config; its name stays, since SPRC's checkpoints hold weights under the class's name."""

    def from_config(cls: Any, cfg: DictConfig | Mapping[str, Any]) -> Any:
        return base.from_config.__func__(cls, merged_config(cfg, changes))

    return type(base.__name__, (base,), {"from_config": classmethod(from_config), "__module__": base.__module__})


def merged_config(cfg: DictConfig | Mapping[str, Any], changes: Mapping[str, Any]) -> DictConfig:
    """The ``model:`` section with the keys of a fusion file: ``fusion`` replaces, mappings merge, the rest replaces."""
    section: Any = OmegaConf.create(cfg if isinstance(cfg, DictConfig) else dict(cfg)).copy()
    for key, value in changes.items():
        if key != "fusion" and isinstance(value, Mapping) and isinstance(section.get(key), DictConfig):
            section[key] = OmegaConf.merge(section[key], dict(value))
        else:
            section[key] = value
    merged: DictConfig = section
    return merged
