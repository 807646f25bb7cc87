"""Weights of the LAVIS model: SPRC's, mmengine's and LAVIS's own checkpoints, read without running their code."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from torch import nn

from gatefuse_plugins.checkpoints.loading import LoadReport, load_into
from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint
from gatefuse_plugins.hosts.blip2_cir.weights import locate_file

_logger = logging.getLogger(__name__)
_ENCODER = "visual_encoder"
_NEW_PARTS = ("prompt_tokens", "fusion", "gatefuse_injection")  # what SPRC and the gates add to BLIP-2


def open_checkpoint(source: str, key: str) -> Checkpoint:
    """Read ``source``, a path or URL (taken from the download cache where it is there).

    Args:
        key: config key to name in errors.

    Raises:
        WeightsUnavailableError: a URL that is neither cached nor reachable.
        CheckpointError: no such file, or it cannot be read safely.
    """
    path = locate_file(None, source, key) if "://" in source else Path(source).expanduser()
    return _with_stamped_encoder(read_checkpoint(path))


def fill(model: nn.Module, checkpoint: Checkpoint, as_start: bool) -> LoadReport:
    """Load ``checkpoint``; every key must find its place, and every place its key, save these:

    - An encoder that the checkpoint does not hold at all stays as it was built (warned about, since only the caller
      knows whether it is the right one): LAVIS's first-stage files come without.
    - ``as_start``: prompt tokens, fusion and injected gates keep their start too where the checkpoint has none.

    Raises:
        CheckpointError: lists every key that does not fit; the model is left as it was.
    """
    excusable = (_ENCODER, *_NEW_PARTS) if as_start else (_ENCODER,)
    held, stored = _top_names(model.state_dict()), _top_names(checkpoint.state_dict)
    absent = [name for name in excusable if name in held and name not in stored]
    report = load_into(
        model, checkpoint, allow_missing=[name if name == "prompt_tokens" else f"{name}.**" for name in absent]
    )
    if _ENCODER in absent:
        _logger.warning("%s has no visual encoder; the model keeps the one it was built with", checkpoint.path)
    _logger.info("%s: %s", checkpoint.path, report)
    return report


def _top_names(names: dict) -> set[str]:
    return {name.split(".", 1)[0] for name in names}


def _with_stamped_encoder(checkpoint: Checkpoint) -> Checkpoint:
    """Our own training stores a small encoder in ``meta.vision_state``, since the model trained on cached tokens."""
    stamped = checkpoint.meta.get("vision_state")
    if not stamped or _ENCODER in _top_names(checkpoint.state_dict):
        return checkpoint
    encoder = {f"{_ENCODER}.{name}": tensor for name, tensor in stamped.items()}
    return dataclasses.replace(checkpoint, state_dict={**checkpoint.state_dict, **encoder})
