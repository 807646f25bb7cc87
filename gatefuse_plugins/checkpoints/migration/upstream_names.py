"""AVIGATE's encoders back under CLIP4Clip's names: the tables of the forward direction, read the other way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.hosts.avigate.encoders import clip4clip

_LAYERS = 64  # more than any published encoder has


def encoders_to_clip4clip(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with encoder parameters renamed, turned and joined as upstream has them.

    Raises:
        CheckpointError: an encoder parameter that upstream's naming has no place for.
    """
    left = {name: tensor for name, tensor in values.items() if name.split(".", 1)[0] in clip4clip.PARTS}
    made = {name: tensor for name, tensor in values.items() if name not in left}
    for name, targets in _upstream_names(bool(left)):
        if not all(target in left for target in targets):
            continue
        parts = [left.pop(target) for target in targets]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        made[name] = joined.T.contiguous() if name in clip4clip.TRANSPOSED else joined
    if left:
        names = ", ".join(list(left)[:5])
        raise CheckpointError(f"{len(left)} encoder parameters have no name in CLIP4Clip's layout: {names}")
    return made


def _upstream_names(any_encoder: bool) -> Iterator[tuple[str, list[str]]]:
    """Every name that upstream can have, with the names that it becomes here."""
    if not any_encoder:
        return
    names = [*clip4clip.PLAIN, *clip4clip.TRANSPOSED]
    names = [full for name in names for full in _endings(name)]
    for block in clip4clip.BLOCKS:
        names += [f"{block}.{layer}.{inner}" for layer in range(_LAYERS) for inner in clip4clip._layer_names(block)]
    for name in names:
        targets, _dropped = clip4clip.migrate_clip4clip({name: torch.empty((3, 1), device="meta")})
        if targets:
            yield name, list(targets)


def _endings(name: str) -> list[str]:
    return [f"{name.removesuffix('*')}{last}" for last in ("weight", "bias")] if name.endswith(".*") else [name]
