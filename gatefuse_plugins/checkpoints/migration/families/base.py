"""The interface of a family of hosts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.hosts import Config
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.registry import MODELS

Batches = dict[str, dict[str, Any]]


class Family(Protocol):
    """Hosts of one kind. Every ``config`` but that of ``old_config`` may also be of type ``Injected``.

    Attributes:
        name: as in ``Identity.family``.
        frozen: first segments of parameters that are compared weight by weight instead of being run: large encoders.
    """

    name: str
    frozen: tuple[str, ...]

    def skeleton(self, config: Config) -> nn.Module:
        """The model of ``config`` on the meta device, without parts of ``frozen``: names and shapes, no memory."""
        ...

    def starting(self, config: Config, seed: int) -> nn.Module:
        """A model on the CPU in which every part that can be new has its shape and its start; others may be small."""
        ...

    def runnable(self, config: Config) -> nn.Module:
        """The model of ``config`` on the CPU in eval mode, without parts of ``frozen``."""
        ...

    def keeps_frozen(self, config: Config, top: str) -> bool:
        """Whether a model of ``config`` holds the frozen part ``top``."""
        ...

    def frozen_shapes(self, config: Config, top: str) -> dict[str, tuple[int, ...]] | None:
        """Parameters of the frozen part ``top`` with their shapes; ``None`` where telling them takes its weights."""
        ...

    def old_config(self, found: Identity, config: Config) -> Config:
        """Config of the checkpoint's own host, bare; what shapes and options do not tell is taken from ``config``."""
        ...

    def upstream_padding(self, config: Config) -> Config:
        """``config`` with padding treated as upstream does; the same object where nothing changes."""
        ...

    def batches(self, config: Config, seed: int) -> Batches:
        """Seeded inputs: ``full`` without padding, ``padded`` with."""
        ...

    def outputs(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What the model makes of a batch, by name, padded positions left out."""
        ...


def shapes_on_meta(node: Any, prefix: str) -> dict[str, tuple[int, ...]] | None:
    """Names (below ``prefix``) and shapes of the component of a config node; ``None`` where building it takes files."""
    cls = MODELS.get(str(node.get("type"))) if isinstance(node, Mapping) else None
    if cls is None:
        return None
    weights = {"weights": None} if "weights" in inspect.signature(cls).parameters else {}
    try:
        with torch.device("meta"):
            part = MODELS.build({**node, **weights})
    except (GatefuseError, ImportError, OSError, RuntimeError, NotImplementedError):
        return None
    return {f"{prefix}.{name}": tuple(tensor.shape) for name, tensor in part.state_dict().items()}


def given(sizes: Mapping[str, int], *names: str) -> Config:
    """The named sizes that are known (above 0)."""
    return {name: sizes[name] for name in names if sizes.get(name)}
