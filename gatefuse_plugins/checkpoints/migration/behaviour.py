"""Options without parameters that change what a model computes: no shape tells them, the file's own config has to."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.hosts import Config, host_config, host_type, type_of
from gatefuse_plugins.registry import FUSIONS, MODELS

HEADS = "qformer.num_attention_heads"
KEYS: dict[str, tuple[str, ...]] = {
    "qd_detr": ("nheads", "use_txt_pos", "compat"),
    "blip2": (HEADS,),
    "avigate": (
        *("num_heads", "fusion_mix", "lse_temperature", "attention_temperature", "layer_decay", "decay_ffn"),
        *("dual_path", "text_alignment", "mask_padding"),
    ),
}
"""By family, options of the host that act in evaluation and have no parameter."""
FUSION_KEYS = ("pool", "text_norm")
"""The same of fusions, those apart that are judged one by one."""
PADDING = ("compat", "mask_padding", "pool")
"""How padding is treated: of upstream's files a choice of the config, see ``Family.upstream_padding``."""

_FAMILY = {"QDDETR": "qd_detr", "Blip2ComposedRetrieval": "blip2", "AVIGATE": "avigate"}
_BERT_BASE = {"hidden_size": 768, "heads": 12}
_UPSTREAM_AVIGATE = {
    **{"fusion_mix": 0.05, "lse_temperature": 1.0, "attention_temperature": 1.0},
    **{"layer_decay": "off", "decay_ffn": False, "dual_path": False, "text_alignment": "mean"},
}
_CHOICES = {
    "gating_type": ("global", "clipwise", "elementwise"),
    "layer_decay": ("off", "fixed", "learnable"),
    "text_alignment": ("mean", "attention"),
    "compat": (None, "upstream"),
    "pool": ("masked_mean", "mean"),
}
_SIZES = ("nheads", "num_heads", "fusion_n_heads", HEADS)
_NUMBERS = ("mha_gate_temp", "fusion_mix", "lse_temperature", "attention_temperature")
_WIDTHS = ("v_feat_dim", "a_feat_dim", "video_dim", "audio_dim")
_FLAGS = ("use_txt_pos", "decay_ffn", "dual_path", "mask_padding", "text_norm")


def filled(config: Mapping[str, Any]) -> Config:
    """The bare host of ``config`` with the defaults of its builder, and of its fusion, where they are not stated."""
    host = host_config(config)
    made = _defaults(MODELS, host) | host
    fusion = made.get("fusion")
    if isinstance(fusion, Mapping):
        made["fusion"] = _defaults(FUSIONS, fusion) | dict(fusion)
    return made


def options_of(config: Mapping[str, Any]) -> Config:
    """Those of :data:`KEYS` that a model of ``config`` has, stated or by default; empty for an unknown host."""
    family, full = _FAMILY.get(host_type(config), ""), filled(config)
    options = {key: full[key] for key in KEYS.get(family, ()) if key in full}
    if family == "blip2" and isinstance(full.get("qformer"), Mapping):
        node = _defaults(MODELS, {"type": "QFormer"}) | full["qformer"]
        # sizes of BERT win over stated ones
        options[HEADS] = _BERT_BASE["heads"] if node.get("bert") is not None else node["num_attention_heads"]
    return options


def upstream_options(origin: str, sizes: Mapping[str, int]) -> Config:
    """What the code of upstream fixes: AVIGATE's heads of 64, mix and temperatures; BERT's 12 heads of 64.

    Sizes that upstream does not have tell nothing about heads.
    """
    if origin in ("sprc", "lavis", "gated_sprc"):
        return {HEADS: _BERT_BASE["heads"]} if sizes.get("hidden_size") == _BERT_BASE["hidden_size"] else {}
    if origin != "avigate":
        return {}
    width = sizes.get("width", 0)
    return _UPSTREAM_AVIGATE | ({"num_heads": width // 64} if width and width % 64 == 0 else {})


def usable(options: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """``options`` without values that no model could have, and a line about each of these."""
    odd = {name: value for name, value in options.items() if not _sound(name, value)}
    lines = [
        f"saved option {name}={str(value)[:40]!r} is none that a model could have; not used"
        for name, value in odd.items()
    ]
    return {name: value for name, value in options.items() if name not in odd}, lines


def _sound(name: str, value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name in _SIZES:
        return whole and value > 0
    if name in _WIDTHS:
        return value is None or (whole and value >= 0)
    if name in _NUMBERS:
        return (whole or isinstance(value, float)) and math.isfinite(value) and (value > 0 or name == "fusion_mix")
    if name in _CHOICES:
        return any(value is choice or (isinstance(value, str) and value == choice) for choice in _CHOICES[name])
    return name not in _FLAGS or isinstance(value, bool)


def _defaults(registry: Any, node: Mapping[str, Any]) -> Config:
    registry.import_from_location()
    made = registry.module_dict.get(type_of(node))  # get() would import whatever module a stranger's file names
    if made is None:
        return {}
    # a class hands what it does not name on to its bases
    makers = (
        [vars(cls)["__init__"] for cls in reversed(made.__mro__) if "__init__" in vars(cls)]
        if inspect.isclass(made)
        else [made]
    )
    parameters = {name: item.default for maker in makers for name, item in inspect.signature(maker).parameters.items()}
    return {name: default for name, default in parameters.items() if default is not inspect.Parameter.empty}
