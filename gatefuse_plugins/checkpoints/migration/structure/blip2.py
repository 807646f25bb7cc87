"""BLIP-2 (LAVIS), SPRC, its gated fork, and this project's composed-retrieval host of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.structure.shapes import Shapes

_LAYERS = "Qformer.bert.encoder.layer"


def recognise(shapes: Shapes, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Fields of an ``Identity``, or ``None`` where this is no BLIP-2 Q-Former."""
    if not {"query_tokens", "Qformer"} <= shapes.tops():
        return None
    sprc = "prompt_tokens" in shapes
    module = next((match[1] for match in shapes.matches(r"([^.]+)\.gate_net\.0\.weight")), None)
    module = module or next((match[1] for match in shapes.matches(r"([^.]+)\.delta_net\.0\.weight")), None)
    config = _text_guided(shapes, module) if module else _other_fusion(shapes)
    fusion = "none" if config is None else _words(config)
    origin = "sprc" if sprc else "lavis"
    if module:
        origin = "gated_sprc"
    elif config is not None:
        origin = "gatefuse"
    models = {"sprc": "SPRC", "lavis": "LAVIS BLIP-2, first stage", "gated_sprc": "gated SPRC"}
    name = models.get(origin, "BLIP-2 composed retrieval")
    return {
        "origin": origin,
        "description": f"{name}: Q-Former, {'composed image retrieval' if sprc else 'image and text'}",
        "sizes": _sizes(shapes),
        "fusion": fusion,
        "fusion_config": config,
        "extras": {"frozen encoder inside": "visual_encoder" in shapes.tops()},
        "undecided": (),
    }


def _sizes(shapes: Shapes) -> dict[str, int]:
    layers = shapes.count(_LAYERS)
    key = "crossattention.self.key.weight"
    crossed = [layer for layer in range(layers) if f"{_LAYERS}.{layer}.{key}" in shapes]
    return {
        "encoder_width": shapes.width(f"{_LAYERS}.{crossed[0]}.{key}", 1) if crossed else 0,
        "hidden_size": shapes.width("query_tokens", 2),
        "num_query_token": shapes.width("query_tokens", 1),
        "num_hidden_layers": layers,
        "cross_attention_freq": crossed[1] - crossed[0] if len(crossed) > 1 else max(layers, 1),
        "intermediate_size": shapes.width(f"{_LAYERS}.0.intermediate.dense.weight", 0),
        "vocab_size": shapes.width("Qformer.bert.embeddings.word_embeddings.weight", 0),
        "max_position_embeddings": shapes.width("Qformer.bert.embeddings.position_embeddings.weight", 0),
        "embed_dim": shapes.width("vision_proj.weight", 0),
    }


def _text_guided(shapes: Shapes, module: str) -> dict[str, Any]:
    gated = f"{module}.gate_net.0.weight" in shapes
    has_alpha = f"{module}.alpha" in shapes
    projected = f"{module}.text_proj.weight" in shapes
    return {
        "type": "TextGuidedImageFusion",
        "strategy": "additive" if not gated else ("residual" if has_alpha else "weighted"),
        "text_proj": projected,
        "norm_affine": f"{module}.delta_net.1.weight" in shapes,
        # the fork averages padding in and norms no text; its text projection is what tells it from ours
        **({"pool": "mean", "text_norm": False} if projected else {}),
    }


def _other_fusion(shapes: Shapes) -> dict[str, Any] | None:
    if "fusion.strength" in shapes:
        return {"type": "TextGuidedSpatialAttention", "attention_dim": shapes.width("fusion.query.weight", 0)}
    return {"type": "unknown"} if "fusion" in shapes.tops() else None


def _words(config: Mapping[str, Any]) -> str:
    if config["type"] == "TextGuidedImageFusion":
        return f"text-guided image fusion, {config['strategy']}"
    return "text-guided spatial attention" if config["type"] == "TextGuidedSpatialAttention" else "unknown here"
