"""CLIP4Clip's and AVIGATE's encoder parameters -> those of the encoders here, as a table.

Upstream names are those of OpenAI's CLIP below ``clip.`` and, for AST, of timm below ``clip.audio.v.``. ``None`` is
dropped on purpose; a name that stands in no table raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from gatefuse_plugins.errors import CheckpointError, suggestion

PARTS = ("frame_encoder", "text_encoder", "audio_encoder")
PREFIX = "clip."
UNCHANGED = ("clip.logit_scale",)

_FRAMES = "frame_encoder.model.vision_model"
_TEXT = "text_encoder.model.text_model"
_AUDIO = "audio_encoder.model"

TRANSPOSED = {
    "clip.visual.proj": "frame_encoder.model.visual_projection.weight",
    "clip.text_projection": "text_encoder.model.text_projection.weight",
    "clip.audio_projection": "audio_encoder.projection.weight",
}
"""Matrices that upstream multiplies from the right."""

PLAIN: dict[str, str | None] = {
    "clip.visual.class_embedding": f"{_FRAMES}.embeddings.class_embedding",
    "clip.visual.positional_embedding": f"{_FRAMES}.embeddings.position_embedding.weight",
    "clip.visual.conv1.weight": f"{_FRAMES}.embeddings.patch_embedding.weight",
    "clip.visual.ln_pre.*": f"{_FRAMES}.pre_layrnorm.*",
    "clip.visual.ln_post.*": f"{_FRAMES}.post_layernorm.*",
    "clip.token_embedding.weight": f"{_TEXT}.embeddings.token_embedding.weight",
    "clip.positional_embedding": f"{_TEXT}.embeddings.position_embedding.weight",
    "clip.ln_final.*": f"{_TEXT}.final_layer_norm.*",
    "clip.audio.v.cls_token": f"{_AUDIO}.embeddings.cls_token",
    "clip.audio.v.dist_token": f"{_AUDIO}.embeddings.distillation_token",
    "clip.audio.v.pos_embed": f"{_AUDIO}.embeddings.position_embeddings",
    "clip.audio.v.patch_embed.proj.*": f"{_AUDIO}.embeddings.patch_embeddings.projection.*",
    "clip.audio.v.norm.*": f"{_AUDIO}.layernorm.*",
    "clip.audio.v.head.*": None,  # classifiers of the pre-training
    "clip.audio.v.head_dist.*": None,
    "clip.audio.mlp_head.0.*": None,
    "clip.audio.mlp_head.1.*": None,
    "clip.input_resolution": None,  # sizes that OpenAI's archives carry as tensors
    "clip.context_length": None,
    "clip.vocab_size": None,
}
"""Names, with ``*`` for the last segment."""

BLOCKS = {
    "clip.visual.transformer.resblocks": f"{_FRAMES}.encoder.layers",
    "clip.transformer.resblocks": f"{_TEXT}.encoder.layers",
    "clip.audio.v.blocks": f"{_AUDIO}.encoder.layer",
}
"""Stacks of transformer layers."""

CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "attn.out_proj": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
AST_LAYER = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
SPLIT = {
    "attn.in_proj_weight": tuple(f"self_attn.{part}_proj.weight" for part in "qkv"),
    "attn.in_proj_bias": tuple(f"self_attn.{part}_proj.bias" for part in "qkv"),
    "attn.qkv.weight": tuple(f"attention.attention.{part}.weight" for part in ("query", "key", "value")),
    "attn.qkv.bias": tuple(f"attention.attention.{part}.bias" for part in ("query", "key", "value")),
}
"""Joint projections of query, key and value, cut into three along the first dimension."""


def migrate_clip4clip(
    state: Mapping[str, Tensor], parts: Sequence[str] = PARTS
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Rename the encoders of an upstream state dict.

    Args:
        state: parameters by upstream name, without ``module.``; names outside ``clip.`` are kept as they are.
        parts: the encoders that the model has; parameters of the others are dropped.

    Returns:
        The new state dict, and the dropped upstream names, each with the reason.

    Raises:
        CheckpointError: names below ``clip.`` that no table holds, all at once.
    """
    migrated: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    unknown = []
    for name, tensor in state.items():
        targets = (name,) if not name.startswith(PREFIX) or name in UNCHANGED else _targets(name)
        if targets is None:
            unknown.append(name)
        elif not targets:
            dropped[name] = "has no part in retrieval"
        elif targets[0].split(".", 1)[0] in PARTS and targets[0].split(".", 1)[0] not in parts:
            dropped[name] = f"the model has no {targets[0].split('.', 1)[0]} that it belongs to"
        elif len(targets) > 1:
            migrated.update(zip(targets, tensor.chunk(len(targets)), strict=True))
        else:
            migrated[targets[0]] = tensor.T if name in TRANSPOSED else tensor
    if unknown:
        known = [*PLAIN, *TRANSPOSED, *(f"{block}.0.{name}" for block in BLOCKS for name in _layer_names(block))]
        raise CheckpointError(
            f"{len(unknown)} encoder parameters have no place in CLIP4Clip's naming: {', '.join(unknown[:5])}"
            f"{suggestion(unknown[0], known)}"
        )
    return migrated, dropped


def _targets(name: str) -> tuple[str, ...] | None:
    """New names; none where it is dropped, ``None`` where it is unknown."""
    if name in TRANSPOSED:
        return (TRANSPOSED[name],)
    stem, _, last = name.rpartition(".")
    for key, suffix in ((name, None), (f"{stem}.*", last)):
        if key in PLAIN:
            target = PLAIN[key]
            return () if target is None else (target.removesuffix("*") + (suffix or ""),)
    for block, target in BLOCKS.items():
        found = re.fullmatch(rf"{re.escape(block)}\.(\d+)\.(.+)", name)
        if found is None:
            continue
        place, inner = f"{target}.{found[1]}", found[2]
        if inner in SPLIT and inner in _layer_names(block):
            return tuple(f"{place}.{new}" for new in SPLIT[inner])
        stem, _, last = inner.rpartition(".")
        table = AST_LAYER if "audio" in block else CLIP_LAYER
        return (f"{place}.{table[stem]}.{last}",) if stem in table else None
    return None


def _layer_names(block: str) -> list[str]:
    audio = "audio" in block
    joint = [name for name in SPLIT if name.startswith("attn.qkv") == audio]
    table = AST_LAYER if audio else CLIP_LAYER
    return joint + [f"{stem}.{last}" for stem in table for last in ("weight", "bias")]
