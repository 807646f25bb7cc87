"""The host with the AVIGATE custom fusion gives QD-DETR-exp's numbers, gates included, from a checkpoint of its."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from moment_hosts import load_as_user, oracle_batch, upstream_options
from oracles import FOLDER, load_oracle

from gatefuse_plugins.gates.ownership import named_gate_parameters
from gatefuse_plugins.gates.tap import GateTap, gate_taps
from gatefuse_plugins.hosts.qd_detr import QDDETR

VARIANTS = {
    "tanh_global": {"generation": "tanh", "gating_type": "global"},
    "tanh_elementwise": {"generation": "tanh", "gating_type": "elementwise"},
    "sigmoid_clipwise": {"generation": "sigmoid", "gating_type": "clipwise"},
    "sigmoid_elementwise": {"generation": "sigmoid", "gating_type": "elementwise"},
    "sigmoid_film_elementwise": {"generation": "sigmoid", "gating_type": "elementwise", "ffn_gate_film": True},
}


def build(config: dict, options: dict) -> QDDETR:
    base = json.loads((FOLDER / "qd_detr.json").read_text())["qvhighlights_video"]["config"]
    sizes = {name: config[name] for name in ("fusion_layers", "fusion_n_heads")}
    fusion = {"type": "AvigateCustomFusion", "pool": "mean", **sizes, **options}
    return QDDETR(**upstream_options(base | config) | {"fusion": fusion}, compat="upstream").eval()


def record_gates(model: QDDETR) -> dict[tuple[int, str], torch.Tensor]:
    gates: dict[tuple[int, str], torch.Tensor] = {}

    def keep(tap: GateTap, _inputs: tuple, value: torch.Tensor) -> None:
        gates[tap.layer, tap.kind] = value

    for _name, tap in gate_taps(model):
        tap.register_forward_hook(keep)
    return gates


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_and_gates_are_the_forks(variant: str, tmp_path: Path) -> None:
    manifest, arrays = load_oracle("qd_detr_avigate_custom")
    model = build(manifest["config"], VARIANTS[variant])
    video_only = json.loads((FOLDER / "qd_detr.json").read_text())["qvhighlights_video"]["state_dict"]
    names = video_only | manifest["extra_state_dict"][variant]
    assert set(load_as_user(model, names, tmp_path).kept) == set(names) == set(model.state_dict())
    gates = record_gates(model)
    with torch.no_grad():
        outputs = model(mode="tensor", return_negatives=True, **oracle_batch(arrays))
    for name in ("pred_logits", "pred_spans", "saliency_scores", "saliency_scores_neg"):
        expected = arrays[f"{variant}_{name}"]
        np.testing.assert_allclose(outputs[name].numpy(), expected, rtol=1e-4, atol=5e-5, err_msg=name)
    for layer in range(manifest["config"]["fusion_layers"]):
        for kind, short in (("attention", "mha"), ("ffn", "ffn")):
            expected = arrays[f"{variant}_layer{layer}_gate_{short}"]
            value = gates[layer, kind].expand(*expected.shape[:2], -1)[..., : expected.shape[-1]]
            np.testing.assert_allclose(value.numpy(), expected, rtol=1e-4, atol=5e-5, err_msg=f"{layer} {short}")


def test_the_fusion_and_nothing_else_is_gated_fusion() -> None:
    manifest, _arrays = load_oracle("qd_detr_avigate_custom")
    model = build(manifest["config"], VARIANTS["sigmoid_elementwise"])
    extra = set(manifest["extra_state_dict"]["sigmoid_elementwise"])
    found = {name for name, _parameter in named_gate_parameters(model)}
    assert found == {name for name in extra if name.startswith("fusion.")}
