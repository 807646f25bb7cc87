"""Parameters that are cut: encoders whose joint projections are apart here, audio columns of a shared projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from gatefuse_plugins.checkpoints.migration.moves import Move, Reshape
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.hosts.avigate.encoders.clip4clip import TRANSPOSED, migrate_clip4clip

_SHARED = {
    "input_vid_proj.0.LayerNorm.weight": 0,
    "input_vid_proj.0.LayerNorm.bias": 0,
    "input_vid_proj.0.net.1.weight": 1,
}
"""Parameters over [video | audio], and the dimension in which the two lie side by side."""


def encoder_moves(name: str, shape: tuple[int, ...], parts: Sequence[str]) -> tuple[list[Move], str]:
    """Moves of one of CLIP4Clip's encoder parameters, and why there are none.

    Raises:
        CheckpointError: no table of the encoders holds the name.
    """
    migrated, dropped = migrate_clip4clip({name: torch.empty(shape, device="meta")}, parts)
    if len(migrated) <= 1:
        reshape = Reshape(transpose=True) if name in TRANSPOSED else None
        return [Move(name, new, reshape) for new in migrated], dropped.get(name, "")
    size = shape[0] // len(migrated)
    cuts = [Reshape(start=index * size, stop=(index + 1) * size) for index in range(len(migrated))]
    return [Move(name, new, cut) for new, cut in zip(migrated, cuts, strict=True)], ""


def split_audio(
    name: str, shape: tuple[int, ...], expected: Mapping[str, tuple[int, ...]], found: Identity
) -> list[Move]:
    """Video columns to the video's projection, audio columns to the audio's; empty where ``name`` is none of theirs."""
    video, audio = found.sizes.get("video_dim", 0), found.sizes.get("audio_dim", 0)
    if name not in _SHARED or shape[_SHARED[name]] != video + audio:
        return []
    axis = _SHARED[name]
    cuts = {
        name: Reshape(axis=axis, start=0, stop=video),
        name.replace("input_vid_proj", "input_aud_proj"): Reshape(axis=axis, start=video, stop=video + audio),
    }
    return [Move(name, new, cut) for new, cut in cuts.items() if expected.get(new) == cut.shape(shape)]
