"""Files as users have them: upstream's layouts, with upstream's parameter names and seeded values."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import FOLDER, fill
from torch import Tensor

MOMENTS = {"video_dim": 20, "text_dim": 16, "hidden_dim": 256, "nheads": 8, "dim_feedforward": 64}
COMPOSED = {
    "type": "Blip2ComposedRetrieval",
    "vision": {"type": "CachedVision", "num_features": 40, "num_tokens": 17, "image_size": 1, "digest": ""},
    "tokenizer": {"type": "CaptionTokenizer", "vocabulary": "tiny"},
    "qformer": {
        "type": "QFormer",
        "bert": None,
        "vocab_size": 101,
        "hidden_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "cross_attention_freq": 2,
        "dropout": 0.0,
    },
    "num_query_token": 32,
    "embed_dim": 24,
}
RETRIEVAL = {
    "type": "AVIGATE",
    "width": 32,
    "num_heads": 4,
    "num_query_tokens": 12,
    "resampler_layers": 2,
    "fusion_layers": 3,
    "fusion_mix": 0.05,
}
AVIGATE_CUSTOM = {"type": "AvigateCustomFusion", "fusion_layers": 2, "fusion_n_heads": 8}


def moments(fusion: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Config of a QD-DETR host of the oracle's sizes."""
    return {"type": "QDDETR", **MOMENTS, **({"audio_dim": 14} if fusion else {}), "fusion": fusion, **options}


def injected(host: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    """``host`` with gates put in by rules."""
    rest = {key: value for key, value in host.items() if key != "type"}
    return {"type": "Injected", "host": host["type"], "injection": list(rules), **rest}


def slot(pattern: str, branch: str, **gate: Any) -> dict[str, Any]:
    """A rule for a residual gate in a slot of QD-DETR's encoder layers."""
    return {"pattern": pattern, "at": f"{branch}_gate", "gate": {"type": "ResidualGate", **gate}}


def manifest(file: str) -> dict[str, Any]:
    """An oracle's manifest; skips the test where the oracles are absent."""
    if not (FOLDER / f"{file}.json").is_file():
        pytest.skip(f"no oracle manifest {file}: {FOLDER} is not there")
    return json.loads((FOLDER / f"{file}.json").read_text())


def filled(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Upstream's state dict by the rule of the oracles; the few integer buffers as upstream makes them."""
    state = {name: fill(name, shape) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        if name.endswith("position_ids"):
            state[name] = torch.arange(shape[-1]).expand(shape)
    return state


def qd_detr(path: Path, kind: str = "video", options: bool = True, **more: Any) -> Path:
    """``model_best.ckpt`` of QD-DETR: ``kind`` is video or audio."""
    state = filled(manifest("qd_detr")[f"qvhighlights_{kind}"]["state_dict"])
    opt = argparse.Namespace(
        nheads=8,
        use_txt_pos=False,
        v_feat_dim=20,
        t_feat_dim=16,
        a_feat_dim=14 if kind == "audio" else None,
        device=torch.device("cpu"),
        v_feat_dirs=["slowfast", "clip"],
    )
    torch.save({"model": state, "epoch": 7, **({"opt": opt} if options else {}), **more}, path)
    return path


def qd_detr_exp(path: Path, variant: str, **options: Any) -> Path:
    """``model_best.ckpt`` of QD-DETR-exp; ``variant`` is one of the oracle's, such as ``tanh_global``."""
    shapes = manifest("qd_detr")["qvhighlights_video"]["state_dict"]
    shapes = shapes | manifest("qd_detr_avigate_custom")["extra_state_dict"][variant]
    told = {
        "nheads": 8,
        "use_txt_pos": False,
        "fusion_n_heads": 8,
        "gating_type": variant.rpartition("_")[2],
        **options,
    }
    torch.save({"model": filled(shapes), "epoch": 3, "opt": argparse.Namespace(**told)}, path)
    return path


def sprc(path: Path, gated: bool = False, prompt: bool = True) -> Path:
    """SPRC's ``tuned_clip_best.pt``, its gated fork's, or (without prompt) LAVIS's ``blip2_pretrained.pth``."""
    state = filled(manifest("sprc_blip2_cir")["state_dict"])
    state["temp"] = torch.tensor(0.07)
    state["Qformer.cls.predictions.decoder.weight"] = state["Qformer.bert.embeddings.word_embeddings.weight"]
    state["Qformer.cls.predictions.decoder.bias"] = state["Qformer.cls.predictions.bias"]
    if gated:
        shapes = {
            name: [{24: 48, 80: 80}.get(size, size) for size in shape]
            for name, shape in manifest("gated_fusion_module")["state_dict"].items()
        }
        state |= {f"gated_fusion.{name}": tensor for name, tensor in filled(shapes).items()}
        state["gated_fusion.alpha"] = torch.tensor([0.5])
    if not prompt:
        del state["prompt_tokens"]
        torch.save({"model": state}, path)
    else:
        torch.save({"epoch": 3, "Blip2QformerCirAlignPrompt": state}, path)
    return path


def avigate(path: Path, prefix: str = "") -> Path:
    """AVIGATE's ``pytorch_model.bin.N``."""
    state = filled(manifest("avigate")["state_dict"])
    state["clip.logit_scale"] = torch.tensor(math.log(20))
    torch.save({prefix + name: tensor for name, tensor in state.items()}, path)
    return path
