"""A checkpoint opened for migration: tensors stay in the file until they are read, training state comes along."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from gatefuse_plugins.checkpoints.migration.layout import TRAINING, layout, scattered
from gatefuse_plugins.checkpoints.migration.saved_config import fault_of, model_of_text, modern
from gatefuse_plugins.checkpoints.pickles import read_file
from gatefuse_plugins.checkpoints.reader import Checkpoint, unfold
from gatefuse_plugins.checkpoints.safety.values import odd_names
from gatefuse_plugins.errors import CheckpointError

PROVENANCE = "gatefuse_migration"
_ENCODER = "visual_encoder."


@dataclass(frozen=True)
class Source:
    """An opened checkpoint.

    Attributes:
        checkpoint: its weights, see :class:`~gatefuse_plugins.checkpoints.reader.Checkpoint`.
        layout: how the file is built, in words.
        training: optimizer, schedulers and message hub, whichever the file holds, under the file's own names.
        provenance: what a migration wrote into it; empty for other files.
    """

    checkpoint: Checkpoint
    layout: str
    training: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameter name to tensor, on the CPU; memory-mapped where the format allows it."""
        return self.checkpoint.state_dict

    @property
    def path(self) -> Path:
        """Where it was read from."""
        return self.checkpoint.path

    @property
    def options(self) -> dict[str, Any]:
        """Options that the training script saved beside the weights (QD-DETR's ``opt``)."""
        saved = self.checkpoint.meta.get("opt")
        if isinstance(saved, Mapping):
            return dict(saved)
        return dict(vars(saved)) if hasattr(saved, "__dict__") else {}

    @cached_property
    def model(self) -> dict[str, Any]:
        """Config of the model that the weights are of, as the file itself tells it; empty where it does not."""
        recorded = self.provenance.get("model")
        if recorded:
            return modern(recorded)
        saved = model_of_text(self.checkpoint.meta.get("cfg"))
        return {} if fault_of(saved) else modern(saved)  # an edited text tells nothing

    @property
    def epoch(self) -> int | None:
        """Epochs done, as the file says or the record of the migration that made it; ``None`` where neither does."""
        for told in (self.checkpoint.meta.get("epoch"), self.provenance.get("epoch")):
            if isinstance(told, int) and not isinstance(told, bool):
                return told
        return None


def open_source(checkpoint: Source | str | os.PathLike[str], trust: bool = False, describe: bool = False) -> Source:
    """Open any checkpoint that :func:`~gatefuse_plugins.checkpoints.reader.read_checkpoint` reads.

    The file must not be written to while the result is in use. What is open already is given back.

    Args:
        checkpoint: a path.
        trust: unpickle without restrictions, which runs whatever code the file carries.
        describe: of a file without a single state dict take all tensors, under names that say where they lie. Such a
            source is to be described, not migrated.

    Raises:
        CheckpointError: unreadable, unsafe to unpickle without ``trust``, or without a single state dict.
    """
    if isinstance(checkpoint, Source):
        return checkpoint
    path = Path(checkpoint)
    content = read_file(path, trust, mmap=True)
    try:
        unfolded = unfold(content, path)
    except CheckpointError:
        found = dict(scattered(content)) if describe else {}
        if not found or odd_names(found):
            raise
        entries = ", ".join(repr(name) for name in list(content)[:12])
        return Source(Checkpoint(found, "state_dict", {}, path), f"no single state dict; entries: {entries}")
    training = {name: content[name] for name in TRAINING if name in content and content is not unfolded.state_dict}
    provenance = provenance_of(unfolded)
    stamped = unfolded.meta.get("vision_state")
    if stamped and not any(name.startswith(_ENCODER) for name in unfolded.state_dict):
        # our own training stores a small frozen encoder apart, since the model learned from its cached tokens
        unfolded.state_dict.update({f"{_ENCODER}{name}": tensor for name, tensor in stamped.items()})
    return Source(unfolded, layout(content, unfolded, bool(_safetensors_metadata(path))), training, provenance)


def provenance_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a migration wrote into ``checkpoint``'s file; empty for other files.

    Raises:
        CheckpointError: the record is damaged.
    """
    path = checkpoint.path
    record = checkpoint.meta.get(PROVENANCE) or _safetensors_metadata(path).get(PROVENANCE) or {}
    if isinstance(record, str):
        record = _parsed(record, path)
    _check_record(record, path)
    return dict(record)


def _safetensors_metadata(path: Path) -> dict[str, str]:
    """The header's metadata, with ``format`` at least for a safetensors file; empty for other files."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if stream.read(1) != b"{" or length > path.stat().st_size:
            return {}
        try:
            header = json.loads(b"{" + stream.read(length - 1))
        except (ValueError, RecursionError):
            return {}
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return {"format": "safetensors", **(metadata if isinstance(metadata, dict) else {})}


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: its migration record is not JSON ({error}); was the file edited?") from error


def _check_record(record: Any, path: Path) -> None:
    if not isinstance(record, Mapping):
        raise CheckpointError(f"{path}: its migration record is a {type(record).__name__}; expected a dict")
    kinds = {"config": str, "kind": str, "source": Mapping, "model": Mapping, "earlier": Mapping}
    for key, kind in kinds.items():
        value = record.get(key)
        if value is not None and not isinstance(value, kind):
            raise CheckpointError(
                f"{path}: its migration record has {key}={str(value)[:40]!r}, expected {kind.__name__}; was it edited?"
            )
    if fault := fault_of(record.get("model") or {}):
        raise CheckpointError(f"{path}: the model in its migration record is damaged: {fault}; was it edited?")
