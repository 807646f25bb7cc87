"""QD-DETR (wjun0830/QD-DETR), its fork QD-DETR-exp, and this project's host of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.structure.shapes import Shapes

_GATES = "fusion.fusion_layers.0.gating_function"
_FORK_OPTIONS = ("fusion_n_heads", "mha_gate_temp")


def recognise(shapes: Shapes, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Fields of an ``Identity``, or ``None`` where this is no QD-DETR."""
    if not any(name.startswith("transformer.t2v_encoder.") for name in shapes):
        return None
    sizes = _sizes(shapes)
    found = _fusion(shapes, options, sizes)
    undecided = list(found.pop("undecided", ()))
    extras = {name: options[name] for name in ("nheads", "use_txt_pos") if name in options}
    return {"sizes": sizes, "extras": extras, "undecided": tuple(undecided), **found}


def _sizes(shapes: Shapes) -> dict[str, int]:
    return {
        "hidden_dim": shapes.width("global_rep_token", 0),
        "dim_feedforward": shapes.width("transformer.encoder.layers.0.linear1.weight", 0),
        "enc_layers": shapes.count("transformer.encoder.layers"),
        "dec_layers": shapes.count("transformer.decoder.layers"),
        "n_input_proj": shapes.count("input_txt_proj"),
        "num_queries": shapes.width("query_embed.weight", 0),
        "max_q_l": shapes.width("txt_position_embed.position_embeddings.weight", 0),
        "text_dim": shapes.width("input_txt_proj.0.LayerNorm.weight", 0),
        "video_dim": shapes.width("input_vid_proj.0.LayerNorm.weight", 0),
    }


def _fusion(shapes: Shapes, options: Mapping[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    if f"{_GATES}.mlp_mha.0.weight" in shapes:
        return _avigate_custom(shapes, options, sizes)
    if "fusion.video_key.weight" in shapes and "fusion.log_temperature" in shapes:
        sizes["audio_dim"] = shapes.width("input_aud_proj.0.LayerNorm.weight", 0)
        config: dict[str, Any] = {
            "type": "QueryAwareTemporalGate",
            "attention_dim": shapes.width("fusion.video_key.weight", 0),
            "window": shapes.width("fusion.window", 0),
            **_no_audio(shapes),
        }
        return _described("gatefuse", "QD-DETR", "query-aware temporal gate", config)
    foreign = sorted({"fusion", "umt_fusion", "audio_fusion_module", "input_aud_proj"} & shapes.tops())
    if foreign and foreign != ["fusion"]:
        return _described("qd_detr_exp_other", "a fork of QD-DETR", f"unknown here ({', '.join(foreign)})", None)
    if shapes.under("fusion") and "fusion.no_audio.state" not in shapes:
        kind = "the fork's temporal gate" if shapes.under("fusion.gate_net") else "unknown here (fusion)"
        return _described("qd_detr_exp_other", "QD-DETR-exp", kind, None)
    return _plain(shapes, options, sizes)


def _plain(shapes: Shapes, options: Mapping[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    """Without a fusion of its own: audio, if there is any, is part of the video's features."""
    width = sizes["video_dim"]
    audio = int(options.get("a_feat_dim") or options.get("audio_dim") or 0)
    video = int(options.get("v_feat_dim") or options.get("video_dim") or 0)
    if audio and video + audio == width:
        sizes |= {"video_dim": video, "audio_dim": audio}
        return _described("qd_detr", "QD-DETR", "concatenated audio", {"type": "Concat", **_no_audio(shapes)})
    found = _described("qd_detr", "QD-DETR", "none", None)
    if not video:
        found["undecided"] = ("whether some of the video's columns are audio (shapes do not tell)",)
    return found


def _avigate_custom(shapes: Shapes, options: Mapping[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    sigmoid = f"{_GATES}.mha_scale" in shapes
    film = f"{_GATES}.mlp_ffn_beta.0.weight" in shapes
    values = shapes.width(f"{_GATES}.mlp_mha.2.weight", 0)
    stated = options.get("gating_type")
    gating = "elementwise" if values > 1 else str(stated or "global")
    sizes["audio_dim"] = shapes.width("input_aud_proj.0.LayerNorm.weight", 0)
    config = {
        "type": "AvigateCustomFusion",
        "generation": "sigmoid" if sigmoid else "tanh",
        "gating_type": gating,
        "fusion_layers": shapes.count("fusion.fusion_layers"),
        **({"ffn_gate_film": True} if film else {}),
        **{name: options[name] for name in _FORK_OPTIONS if name in options},
        **_no_audio(shapes),
    }
    generation = "second generation (sigmoid)" if sigmoid else "first generation (tanh)"
    words = f"AVIGATE custom, {generation}, {gating}{', FiLM' if film else ''}, {config['fusion_layers']} layers"
    found = _described("qd_detr_exp_sigmoid" if sigmoid else "qd_detr_exp_tanh", "QD-DETR-exp", words, config)
    undecided = [] if "fusion_n_heads" in options else ["heads of the fusion (shapes do not tell)"]
    if values == 1 and stated is None:
        undecided.append("whether the gates are global or clipwise (equal shapes)")
    if sigmoid and "mha_gate_temp" not in options:
        undecided.append("temperature of the attention gate (no parameter)")
    return found | {"undecided": tuple(undecided)}


def _described(origin: str, model: str, fusion: str, config: dict[str, Any] | None) -> dict[str, Any]:
    words = f"{model}, moment retrieval and highlight detection"
    return {"origin": origin, "description": words, "fusion": fusion, "fusion_config": config}


def _no_audio(shapes: Shapes) -> dict[str, str]:
    return {"no_audio": "learned"} if "fusion.no_audio.state" in shapes else {}
