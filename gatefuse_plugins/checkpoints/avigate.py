"""AVIGATE's own checkpoints, whose encoders bear CLIP4Clip's names."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from gatefuse_plugins.checkpoints.reader import Checkpoint
from gatefuse_plugins.hosts.avigate.encoders import migrate_clip4clip
from gatefuse_plugins.hosts.avigate.encoders.clip4clip import PARTS


def with_our_names(checkpoint: Checkpoint, model: nn.Module) -> tuple[Checkpoint, dict[str, str]]:
    """Rename upstream's encoders in a checkpoint of origin ``avigate``; any other is returned as it is.

    Args:
        model: the host; what belongs to an encoder that it lacks is left out.

    Returns:
        The checkpoint, and the names that were left out, each with the reason.

    Raises:
        CheckpointError: names below ``clip.`` that CLIP4Clip and AVIGATE do not have.
    """
    if checkpoint.origin != "avigate":
        return checkpoint, {}
    parts = [name for name in PARTS if getattr(model, name, None) is not None]
    state, dropped = migrate_clip4clip(checkpoint.state_dict, parts)
    return replace(checkpoint, state_dict=state), dropped
