"""Model configs for LAVIS: where the shipped YAML files lie, and what a ``model:`` section may hold."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gatefuse_plugins.config.validation import validate_config
from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.registry import FUSIONS

MODEL_TYPES = ("pretrain", "pretrain_vitL", "coco", "tiny")
# LAVIS's own keys of a model config; every other key but `injection` is an argument of build_blip2_composed_retrieval.
_LAVIS_KEYS = frozenset({"arch", "model_type", "load_pretrained", "pretrained", "load_finetuned", "finetuned"})


def model_config_path(model_type: str) -> str:
    """Absolute path of the YAML that ships for ``model_type``.

    Absolute, since LAVIS joins a model config's path to its own folder, which leaves only absolute paths alone.

    Raises:
        ConfigError: unknown ``model_type``.
    """
    if model_type not in MODEL_TYPES:
        raise ConfigError(
            f"blip2_cir_gated: model_type {model_type!r} is unknown{suggestion(model_type, MODEL_TYPES)}"
            f" (all: {', '.join(MODEL_TYPES)})"
        )
    return str(files("gatefuse_plugins.lavis.model_configs").joinpath(f"{model_type}.yaml"))


@dataclass(frozen=True)
class ModelConfig:
    """A checked ``model:`` section.

    Attributes:
        parts: arguments of :func:`~gatefuse_plugins.hosts.blip2_cir.build_blip2_composed_retrieval`.
        weights: file or URL of the weights; ``None`` leaves the model as its parts were built.
        weights_key: config key that ``weights`` came from. ``model.pretrained`` is a start, which may lack what gated
            composed retrieval adds to BLIP-2; ``model.finetuned`` is a finished model.
        injection: rules of :func:`~gatefuse_plugins.injection.inject`, applied to the built model.
    """

    parts: dict[str, Any]
    weights: str | None
    weights_key: str
    injection: list[dict[str, Any]] = field(default_factory=list)


def read_model_config(cfg: DictConfig | Mapping[str, Any]) -> ModelConfig:
    """Check the ``model:`` section of a LAVIS config, resolving its interpolations.

    Weights as in LAVIS: ``load_finetuned`` picks ``finetuned``, else ``load_pretrained`` picks ``pretrained``.

    Raises:
        ConfigError: lists every unknown, missing or mistyped key at once; or the weights asked for are not named.
    """
    section = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(dict(cfg))
    plain: Any = OmegaConf.to_container(section, resolve=True)
    parts = {key: value for key, value in plain.items() if key not in _LAVIS_KEYS}
    injection = parts.pop("injection", None) or []
    if "data_preprocessor" in parts:
        raise ConfigError(
            "model.data_preprocessor: LAVIS models have none; expected the processors of the config's `preprocess:`"
            " section"
        )
    parts = _without_shipped_fusion(parts, plain.get("model_type"))
    host = {"type": "Blip2ComposedRetrieval", **parts}
    if injection:
        host = {**host, "type": "Injected", "host": "Blip2ComposedRetrieval", "injection": injection}
    validate_config({"default_scope": "gatefuse", "model": host})
    for name in ("finetuned", "pretrained"):
        if plain.get(f"load_{name}", False):
            if not plain.get(name):
                raise ConfigError(
                    f"model.{name}: load_{name} is true, but no file is named; expected a path or URL, or"
                    f" load_{name}: false"
                )
            return ModelConfig(parts, str(plain[name]), f"model.{name}", injection)
    return ModelConfig(parts, None, "", injection)


def _without_shipped_fusion(parts: dict[str, Any], model_type: Any) -> dict[str, Any]:
    """Another fusion than the shipped one, freed of what LAVIS merged into it from the shipped YAML.

    LAVIS lays a user's section over the shipped one and can take no key away. What falls away stands at the shipped
    value and is no argument of the chosen fusion; everything else is the user's, and judged as such.
    """
    fusion = parts.get("fusion")
    if model_type not in MODEL_TYPES or not isinstance(fusion, Mapping):
        return parts
    shipped = OmegaConf.load(model_config_path(model_type)).model.fusion
    chosen = FUSIONS.get(str(fusion.get("type")))
    if chosen is None or fusion["type"] == shipped.type:
        return parts
    taken = inspect.signature(chosen).parameters
    kept = {k: v for k, v in fusion.items() if k == "type" or k in taken or k not in shipped or v != shipped[k]}
    return {**parts, "fusion": kept}
