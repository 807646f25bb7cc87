"""The network gives SPRC's numbers from an SPRC checkpoint read as a user's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import TOLERANCE, fill, load_oracle
from qformer_backends import EACH_BACKEND
from torch import nn

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.hosts.blip2_cir.losses import max_token_similarity
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork
from gatefuse_plugins.hosts.blip2_cir.qformer import build_qformer
from gatefuse_plugins.hosts.blip2_cir.text import CaptionTokenizer, TextBatch

WORDS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


class IdentityVision(nn.Identity):
    num_features, num_tokens = 40, 17


def sprc_state(manifest: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    state = {}
    for name, shape in manifest.items():
        if name.endswith("position_ids"):
            state[name] = torch.arange(shape[1])[None]
        else:
            state[name] = fill(name.replace(DECODER, WORDS), shape)  # tied: the embedding's fill wins
    state["temp"] = torch.tensor(0.07)
    return state


def upstream_network(config: dict[str, Any], backend: str) -> ComposedRetrievalNetwork:
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")
    qformer = build_qformer(
        config["encoder_width"],
        config["vocab_size"],
        config["num_query_token"],
        config["cross_attention_freq"],
        bert=None,
        backend=backend,
        **{name: config[name] for name in sizes},
    )
    tokenizer = CaptionTokenizer("tiny")
    return ComposedRetrievalNetwork(
        IdentityVision(), qformer, tokenizer, None, config["num_query_token"], config["embed_dim"]
    )


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_sprc_checkpoint_loads_and_gives_its_numbers(backend: str, tmp_path: Path) -> None:
    manifest, arrays = load_oracle("sprc_blip2_cir")
    network = upstream_network(manifest["config"], backend).eval()
    path = tmp_path / "tuned_clip_best.pt"
    torch.save({"epoch": 7, "Blip2QformerCirAlignPrompt": sprc_state(manifest["state_dict"])}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.meta["epoch"] == 7
    report = load_into(network, checkpoint)
    # each key is in the model, or a second name of a tied tensor, or a buffer that this transformers does not keep
    assert set(report.kept) | set(report.dropped) == set(manifest["state_dict"])
    assert all("position_ids" in name or "cls.predictions" in name for name in report.dropped)

    reference, target, ids, mask = (
        torch.from_numpy(arrays[f"in_{name}"]) for name in ("reference", "target", "input_ids", "attention_mask")
    )
    text = TextBatch(ids, mask.bool())
    with torch.no_grad():
        losses = network.losses(reference, target, text)
        targets = network.embed_targets(network.image_tokens(target))
        query, _ = network.compose(network.image_tokens(reference), text)
    assert set(losses) == {"loss_itc", "loss_rtc", "loss_align"}
    for name, value in losses.items():
        np.testing.assert_allclose(value.item(), arrays[name], **TOLERANCE, err_msg=name)
    np.testing.assert_allclose(targets.numpy(), arrays["out_target_feats"], **TOLERANCE)
    np.testing.assert_allclose(max_token_similarity(query, targets).numpy(), arrays["out_similarity"], **TOLERANCE)
