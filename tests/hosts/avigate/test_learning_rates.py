"""Which parameters the embedded profile trains faster: mmengine ignores a key that matches no name."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.optim import DefaultOptimWrapperConstructor

import gatefuse_plugins.plugins  # noqa: F401
from gatefuse_plugins.config import load_config
from gatefuse_plugins.registry import MODELS

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "msrvtt_avigate_query_gate.py"


def test_the_embedded_profile_speeds_up_the_tanh_gates_alone() -> None:
    cfg = load_config(CONFIG, ["profile=embedded", "model.layer_decay=learnable"])
    model = MODELS.build(cfg.model.to_dict())
    constructor = DefaultOptimWrapperConstructor(
        {"type": "OptimWrapper", "optimizer": cfg.optim_wrapper.optimizer.to_dict()},
        cfg.optim_wrapper.paramwise_cfg.to_dict(),
    )
    groups = constructor(model).optimizer.param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    factors = {name: rates[id(parameter)] / cfg.lr for name, parameter in model.named_parameters()}
    faster = {name: factor for name, factor in factors.items() if factor != 1.0}
    assert set(faster) == {
        f"transformerClip.resblocks.{layer}.{name}.weight"
        for layer in range(2)
        for name in ("attn_gate.ag_fc", "attn_gate.ag_proj", "ff_gate.fg_fc", "ff_gate.fg_proj")
    }
    assert list(faster.values()) == pytest.approx([10.0] * 8)
    assert {"query_gate", "attn_decay"} <= {part for name in factors for part in name.split(".")}
