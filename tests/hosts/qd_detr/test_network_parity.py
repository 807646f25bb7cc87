"""The host gives QD-DETR's numbers from a QD-DETR checkpoint read as a user's file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moment_hosts import load_as_user, oracle_batch, upstream_options
from oracles import FOLDER, TOLERANCE

from gatefuse_plugins.hosts.qd_detr import QDDETR

MODELS = ("qvhighlights_video", "qvhighlights_audio", "tvsum_audio")


def oracle_host(name: str, folder: Path, **options: Any) -> tuple[QDDETR, dict[str, Any], dict[str, np.ndarray]]:
    manifest, arrays = _load(name)
    model = QDDETR(**upstream_options(manifest["config"]), **options).eval()
    report = load_as_user(model, manifest["state_dict"], folder)
    assert set(report.kept) == set(manifest["state_dict"]) == set(model.state_dict())
    return model, oracle_batch(arrays), arrays


def _load(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not (FOLDER / f"qd_detr_{name}.npz").is_file():
        pytest.skip(f"no oracle qd_detr_{name}: {FOLDER} is not there")
    model = "qvhighlights_audio" if name == "mask_order" else name
    with np.load(FOLDER / f"qd_detr_{name}.npz") as arrays:
        return json.loads((FOLDER / "qd_detr.json").read_text())[model], dict(arrays)


def compare(got: torch.Tensor, expected: np.ndarray, name: str) -> None:
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-4, atol=5e-5, err_msg=name)


@pytest.mark.parametrize("name", [*MODELS, "mask_order"])
def test_outputs_and_losses_are_upstreams(name: str, tmp_path: Path) -> None:
    model, batch, arrays = oracle_host(name, tmp_path, compat="upstream")
    with torch.no_grad():
        outputs = model(mode="tensor", return_negatives=True, **batch)
        losses = model(mode="loss", **batch)
    for key in ("pred_logits", "pred_spans", "saliency_scores", "saliency_scores_neg"):
        compare(outputs[key], arrays[f"out_{key}"], key)
    for key, value in outputs["aux_outputs"][0].items():
        compare(value, arrays[f"out_aux0_{key}"], key)
    terms = {key: value for key, value in losses.items() if "loss" in key}
    expected = {key.removeprefix("loss_"): value for key, value in arrays.items() if key.startswith("loss_")}
    assert set(losses) == set(expected) - {"total"} - {key for key in expected if key.startswith("class_error_")}
    for key, value in terms.items():
        compare(value, expected[key] * model.criterion.weight(key), key)
    compare(sum(terms.values()), expected["total"], "total")


@pytest.mark.parametrize("name", MODELS)
def test_without_upstreams_fault_the_positive_pairs_are_the_same(name: str, tmp_path: Path) -> None:
    model, batch, arrays = oracle_host(name, tmp_path)
    with torch.no_grad():
        outputs = model(mode="tensor", return_negatives=True, **batch)
    for key in ("pred_logits", "pred_spans", "saliency_scores"):
        compare(outputs[key], arrays[f"out_{key}"], key)


def test_each_sample_is_predicted_as_if_alone(tmp_path: Path) -> None:
    model, batch, arrays = oracle_host("mask_order", tmp_path)
    with torch.no_grad():
        outputs = model(mode="tensor", **batch)
    compare(outputs["pred_logits"], arrays["alone_pred_logits"], "pred_logits")
    compare(outputs["pred_spans"], arrays["alone_pred_spans"], "pred_spans")
    valid = batch["video_mask"]
    compare(outputs["saliency_scores"][valid], arrays["alone_saliency_scores"][valid.numpy()], "saliency_scores")
    # the oracle shows the fault: what upstream gives in the batch is something else
    assert np.abs(arrays["out_pred_logits"] - arrays["alone_pred_logits"]).max() > 10 * TOLERANCE["atol"]
