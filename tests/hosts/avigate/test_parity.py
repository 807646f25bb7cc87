"""The network gives AVIGATE's numbers from an AVIGATE checkpoint read as a user's file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import TOLERANCE, fill, load_oracle

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.hosts.avigate import AVIGATE, build_avigate, score_all_pairs

LOGITS = {"rtol": 1e-4, "atol": 5e-5}


def upstream_model(tmp_path: Path, prefix: str = "", **options) -> tuple[AVIGATE, dict[str, np.ndarray]]:
    manifest, arrays = load_oracle("avigate")
    config = manifest["config"]
    model = build_avigate(
        width=config["width"],
        num_heads=config["heads"],
        num_query_tokens=config["num_query_token"],
        resampler_layers=config["audio_query_layers"],
        fusion_layers=config["cross_num_hidden_layers"],
        margin_beta=config["beta"],
        margin_bound=config["margin_BD"],
        lse_temperature=config["temperature"],
        **{"mask_padding": False, **options},
    ).eval()
    state = {name: fill(name, shape) for name, shape in manifest["state_dict"].items()}
    state["clip.logit_scale"] = torch.tensor(math.log(config["logit_scale_exp"]))
    path = tmp_path / "pytorch_model.bin.4"
    torch.save({prefix + name: value for name, value in state.items()}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.origin == "avigate"
    report = load_into(model, checkpoint)
    assert set(report.kept) == set(manifest["state_dict"]) == set(model.state_dict())
    return model, arrays


def recorded_gates(model: AVIGATE) -> dict[str, list[torch.Tensor]]:
    seen: dict[str, list[torch.Tensor]] = {"attention": [], "ffn": []}
    for _, tap in gate_taps(model):
        tap.register_forward_hook(lambda tap, _, value: seen[tap.kind].append(value.flatten()))
    return seen


@pytest.mark.parametrize("prefix", ["", "module."])
def test_upstreams_checkpoint_gives_its_similarity_loss_and_gates(tmp_path: Path, prefix: str) -> None:
    model, arrays = upstream_model(tmp_path, prefix)
    gates = recorded_gates(model)
    given = {name: torch.from_numpy(arrays[f"in_{name}"]) for name in ("text", "video", "audio", "video_mask")}
    with torch.no_grad():
        videos = model.encode_videos(given["video"], given["video_mask"].bool(), given["audio"])
        texts = model.encode_texts(given["text"])
        similarity = score_all_pairs(model, texts, videos)
        values = {kind: torch.stack(value, dim=1) for kind, value in gates.items()}
        logits = model.train_logits(texts, videos)
        loss = model.contrastive_loss(texts, videos)
    np.testing.assert_allclose(similarity.numpy(), arrays["out_similarity"], **LOGITS)
    np.testing.assert_allclose(values["attention"].numpy(), arrays["out_attn_gate"], **TOLERANCE)
    np.testing.assert_allclose(values["ffn"].numpy(), arrays["out_ff_gate"], **TOLERANCE)
    np.testing.assert_allclose(logits.numpy(), arrays["out_train_logits"], **LOGITS)
    np.testing.assert_allclose(loss.item(), arrays["loss"], **TOLERANCE)


def test_the_gated_fusion_transformer_alone(tmp_path: Path) -> None:
    model, arrays = upstream_model(tmp_path)
    gates = recorded_gates(model)
    x, audio = (torch.from_numpy(arrays[f"gft_in_{name}"]).transpose(0, 1) for name in ("x", "v"))
    with torch.no_grad():
        fused = model.transformerClip(x, audio)
    np.testing.assert_allclose(fused.transpose(0, 1).numpy(), arrays["gft_out"], **TOLERANCE)
    for kind, name in (("attention", "attn"), ("ffn", "ff")):
        values = torch.stack(gates[kind], dim=1).numpy()
        np.testing.assert_allclose(values, arrays[f"gft_{name}_gate"], **TOLERANCE)


def test_masked_padding_differs_from_upstream_only_where_there_is_padding(tmp_path: Path) -> None:
    model, arrays = upstream_model(tmp_path, mask_padding=True)
    given = {name: torch.from_numpy(arrays[f"in_{name}"]) for name in ("text", "video", "audio", "video_mask")}
    mask = given["video_mask"].bool()
    with torch.no_grad():
        videos = model.encode_videos(given["video"], mask, given["audio"])
        similarity = score_all_pairs(model, model.encode_texts(given["text"]), videos).numpy()
    whole = mask.all(dim=1).numpy()
    assert whole.tolist() == [True, False, True, True, False]
    np.testing.assert_allclose(similarity[:, whole], arrays["out_similarity"][:, whole], **LOGITS)
    assert np.abs(similarity[:, ~whole] - arrays["out_similarity"][:, ~whole]).min(axis=0).max() > 1e-4
