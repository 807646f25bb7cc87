"""Gates that are one number a layer, multiplied into the weights that they act on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gatefuse_plugins.checkpoints.migration.families import Config

_LAST = {"attention_gate": "self_attn.out_proj", "ffn_gate": "linear2"}
"""The linear map whose output each gate multiplies (hosts/qd_detr/encoder.py)."""


def fold_layer_gates(values: Mapping[str, Tensor], config: Config) -> tuple[dict[str, Tensor], Config]:
    """Parameters without scalar residual gates, each multiplied into its branch's last projection.

    Returns:
        The parameters (gates of other granularities are left out, which changes outputs), and the config without gates.
    """
    folded = dict(values)
    for name in values:
        layer, _, last = name.rpartition(".")
        layer, _, gate = layer.rpartition(".")
        if gate not in _LAST or last != "raw":
            continue
        factor = 1 + torch.tanh(folded.pop(name).double().reshape(()))
        for part in ("weight", "bias"):
            target = f"{layer}.{_LAST[gate]}.{part}"
            folded[target] = (folded[target].double() * factor).to(folded[target].dtype)
    rest = {name: tensor for name, tensor in folded.items() if not _is_gate(name)}
    return rest, {**config, "layer_gates": []} if "layer_gates" in config else config


def _is_gate(name: str) -> bool:
    return any(f".{gate}." in name for gate in _LAST)
