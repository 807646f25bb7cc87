"""The host inside mmengine: training steps, predictions, mixed precision, every kind of fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from moment_hosts import AUDIO, small_batch, small_host

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.registry import MODELS

FUSIONS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "concat": {"type": "Concat"},
    "avigate": {"type": "AvigateCustomFusion", "fusion_n_heads": 2, "fusion_layers": 2, "ffn_gate_film": True},
    "temporal": {"type": "QueryAwareTemporalGate"},
}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_training_lowers_the_loss_and_reaches_every_parameter(fusion: str) -> None:
    model = small_host(fusion=FUSIONS[fusion], audio_dim=AUDIO, input_dropout=0.0, dropout=0.0).train()
    batch = small_batch((6, 4, 5), (3, 2, 4), audio=True)
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
    first = model.train_step(batch, optimizer)
    assert {"loss", "loss_span", "loss_giou", "loss_label", "loss_saliency", "loss_span_0", "class_error"} <= set(first)
    for _ in range(30):
        last = model.train_step(batch, optimizer)
    assert last["loss"] < 0.8 * first["loss"]
    optimizer.zero_grad()
    sum(value for name, value in model(mode="loss", **batch).items() if "loss" in name).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_aux_losses_can_be_left_out() -> None:
    assert "loss_span_0" not in small_host(aux_loss=False)(mode="loss", **small_batch())


def test_prediction() -> None:
    batch = small_batch((5, 3), (2, 4))
    labels = ("spans", "saliency_pos", "saliency_neg", "saliency_labels")
    batch = {name: value for name, value in batch.items() if name not in labels}
    (prediction,) = small_host().val_step(batch)
    assert set(prediction) == {"sample_index", "windows", "saliency"}
    assert prediction["sample_index"].tolist() == [0, 1]
    for windows, duration in zip(prediction["windows"], (10, 6), strict=True):
        assert (np.diff(windows[:, 2]) <= 0).all()
        assert windows[:, :2].min() >= 0
        assert windows[:, :2].max() <= duration
        assert (windows[:, :2] % 2 == 0).all()
    assert [curve.shape for curve in prediction["saliency"]] == [(5,), (3,)]
    with pytest.raises(DataError, match="has no 'spans'"):
        small_host()(mode="loss", **batch)


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="mode 'predicted' is unknown; did you mean 'predict'"):
        small_host()(mode="predicted", **small_batch())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_mixed_precision(fusion: str) -> None:
    model = small_host(fusion=FUSIONS[fusion], audio_dim=AUDIO)
    batch = small_batch((5, 3), (2, 4), audio=True)
    with torch.no_grad():
        exact = model(mode="tensor", **batch)["saliency_scores"]
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            torch.testing.assert_close(
                model(mode="tensor", **batch)["saliency_scores"].float(), exact, rtol=0.1, atol=0.3
            )
        losses = model.train()(mode="loss", **batch)
        sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_registry_builds_it() -> None:
    config = {"type": "QDDETR", "video_dim": 6, "text_dim": 5, "hidden_dim": 12, "nheads": 2, "fusion": None}
    assert type(MODELS.build(config)).__name__ == "QDDETR"
