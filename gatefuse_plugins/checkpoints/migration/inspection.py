"""What a checkpoint file is, for people and for machines."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from gatefuse_plugins.checkpoints.migration.provenance import plain
from gatefuse_plugins.checkpoints.migration.recognise import Identity, recognise
from gatefuse_plugins.checkpoints.migration.source import Source, open_source
from gatefuse_plugins.checkpoints.safety.values import listed

_SHOWN_OPTIONS = 200  # characters of one option


@dataclass(frozen=True)
class Inspection:
    """A checkpoint file described.

    Attributes:
        path: the file; ``layout`` says how it is built.
        identity: what it holds.
        tensors: how many; ``parameters`` their elements, ``dtypes`` tensors by dtype, ``groups`` by first segment.
        epoch: epochs done, if the file says so.
        options: options that the training script saved.
        training: kinds of training state beside the weights.
        non_finite: name and count of NaN and infinite elements, for every tensor that holds any.
        provenance: what a migration recorded.
    """

    path: str
    layout: str
    identity: Identity
    tensors: int
    parameters: int
    dtypes: dict[str, int]
    groups: dict[str, int]
    epoch: int | None
    options: dict[str, Any]
    training: tuple[str, ...]
    non_finite: dict[str, int]
    provenance: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return _jsonable(dataclasses.asdict(self))

    def lines(self) -> list[str]:
        """As text, a fact a line."""
        found = self.identity
        facts = {
            "file": f"{self.path} ({self.layout})",
            "origin": f"{found.origin}: {found.description}",
            "fusion": found.fusion,
            "sizes": ", ".join(f"{name} {size}" for name, size in found.sizes.items()),
            "more": ", ".join(f"{name}={value}" for name, value in found.extras.items()),
            "undecided": "; ".join(found.undecided),
            "weights": f"{self.tensors} tensors, {self.parameters:,} elements, "
            + ", ".join(f"{count} {dtype}" for dtype, count in self.dtypes.items()),
            "epoch": "" if self.epoch is None else str(self.epoch),
            "training state": ", ".join(self.training),
            "options": ", ".join(f"{name}={str(value)[:_SHOWN_OPTIONS]}" for name, value in self.options.items()),
            "NaN or infinity": listed(self.non_finite, 10),
            "migrated from": str(self.provenance.get("source", "")),
        }
        if found.family == "unknown":
            facts["groups"] = ", ".join(f"{name} ({count})" for name, count in self.groups.items())
        return [f"{name}: {printable(value)}" for name, value in facts.items() if value]


def inspect(checkpoint: Source | str | os.PathLike[str], trust: bool = False) -> Inspection:
    """Describe a checkpoint, of unknown origin too.

    Raises:
        CheckpointError: it cannot be read, or not safely.
    """
    source = open_source(checkpoint, trust, describe=True)
    state = source.state
    return Inspection(
        path=str(source.path),
        layout=source.layout,
        identity=recognise(source),
        tensors=len(state),
        parameters=sum(tensor.numel() for tensor in state.values()),
        dtypes=dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in state.values())),
        groups=dict(Counter(name.split(".", 1)[0] for name in state)),
        epoch=source.epoch,
        options=_jsonable(source.options),
        training=tuple(source.training),
        non_finite=source.checkpoint.non_finite,
        provenance=source.provenance,
    )


def printable(text: str) -> str:
    """``text`` with characters that do not print escaped: those of a stranger's file could steer the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _jsonable(value: Any) -> Any:
    value = plain(vars(value) if isinstance(value, argparse.Namespace) else value)
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, torch.Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
