"""AVIGATE (BoseungJeong/AVIGATE-CVPR2025) and this project's host of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.structure.shapes import Shapes

_BLOCKS = "transformerClip.resblocks"
_FIRST = f"{_BLOCKS}.0"


def recognise(shapes: Shapes, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Fields of an ``Identity``, or ``None`` where this is no AVIGATE."""
    if not shapes.under("transformer_Fusion") or "frame_position_embeddings.weight" not in shapes:
        return None
    extras = _gates(shapes)
    own = any(extras[name] for name in ("query_gate", "text_gates", "layer_decay")) or any(
        name.startswith(("frame_encoder.", "text_encoder.", "audio_encoder.")) for name in shapes
    )
    width = shapes.width("query_tokens", 0)
    return {
        "origin": "gatefuse" if own else "avigate",
        "description": "AVIGATE, video-text retrieval with audio",
        "sizes": {
            "width": width,
            "num_query_tokens": shapes.width("query_tokens", 1),
            "resampler_layers": shapes.count("transformer_Fusion.resblocks"),
            "fusion_layers": shapes.count(_BLOCKS),
            "max_frames": shapes.width("frame_position_embeddings.weight", 0),
        },
        "fusion": _words(extras),
        "extras": {name: value for name, value in extras.items() if value or name == "gating"},
        "undecided": (),
    }


def _gates(shapes: Shapes) -> dict[str, Any]:
    values = shapes.width(f"{_FIRST}.query_gate.qg_proj.weight", 0)
    return {
        "gating": f"{_FIRST}.attn_gate.ag_fc.weight" in shapes,
        "query_gate": "headwise" if values > 1 else ("scalar" if values else ""),
        "query_gate_scale": f"{_FIRST}.query_gate.outer_scale" in shapes,
        "text_gates": f"{_FIRST}.attn_gate.ag_text.weight" in shapes,
        "layer_decay": "learnable" if f"{_FIRST}.attn_decay.logit" in shapes else "",
        "decay_ffn": f"{_FIRST}.ff_decay.logit" in shapes,
        "gate_pooling": "attention" if f"{_FIRST}.video_pool.score.weight" in shapes else "",
    }


def _words(extras: Mapping[str, Any]) -> str:
    parts = ["attention and FFN gates (tanh)"] if extras["gating"] else ["ungated fusion"]
    if extras["query_gate"]:
        parts.append(f"{extras['query_gate']} query gate")
    parts += [name.replace("_", " ") for name in ("text_gates", "layer_decay") if extras[name]]
    return ", ".join(parts)
