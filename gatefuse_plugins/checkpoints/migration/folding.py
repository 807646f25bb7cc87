"""Gates that are one number a layer, multiplied into the weights that they act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.structure.injection import CHILD

_SLOTS = {"attention_gate": "self_attn.out_proj", "ffn_gate": "linear2"}
"""The linear map whose output the gate in each slot multiplies (hosts/qd_detr/encoder.py)."""
_GATE = re.compile(rf"{CHILD}\.inserts\.(?P<place>[^.]+)/output\.raw|(?P<layer>.+)\.(?P<slot>{'|'.join(_SLOTS)})\.raw")
_ANY_GATE = re.compile(rf"{CHILD}\..+|.+\.({'|'.join(_SLOTS)})\..+")


@dataclass(frozen=True)
class FoldedGates:
    """Names of gate parameters that were multiplied into weights, and of those that cannot be."""

    folded: tuple[str, ...]
    left: tuple[str, ...]


def fold_scalar_gates(values: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], FoldedGates]:
    """Parameters without injected gates, each scalar one multiplied into the linear map before it.

    Args:
        values: parameters of ``model`` by name; gates of other granularities are left out, which changes outputs.
        model: tells which modules are linear maps; may lie on the meta device.
    """
    kept = {name: tensor for name, tensor in values.items() if not _ANY_GATE.fullmatch(name)}
    folded = []
    for name in values:
        found = _GATE.fullmatch(name)
        alone = sum(other.startswith(name.removesuffix("raw")) for other in values) == 1
        linear = _linear_before(found, model) if found and alone else None
        if linear is None:
            continue
        factor = 1 + torch.tanh(values[name].double().reshape(()))
        for part in ("weight", "bias"):
            if (target := f"{linear}.{part}") in kept:
                kept[target] = (kept[target].double() * factor).to(kept[target].dtype)
        folded.append(name)
    left = [name for name in values if name not in kept and name not in folded]
    return kept, FoldedGates(tuple(folded), tuple(left))


def _linear_before(found: re.Match[str], model: nn.Module) -> str | None:
    """Path of the linear map whose output the gate multiplies; ``None`` where there is no single one."""
    if found["layer"]:
        return f"{found['layer']}.{_SLOTS[found['slot']]}"
    path = found["place"].replace("/", ".")
    module = model.get_submodule(path)
    if isinstance(module, nn.MultiheadAttention):
        return f"{path}.out_proj"
    return path if isinstance(module, nn.Linear) else None
