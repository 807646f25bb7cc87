"""Initialisation by mmengine's Runner, which comes after injection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class HostInitialisation:
    """Stands in an injected host for its ``init_weights``, and leaves the inserts as they are.

    mmengine applies a host's ``init_cfg`` to every module below it when training starts, and some hosts re-initialise
    all their parameters; either would end the inserts' neutral start.

    Args:
        host: an mmengine ``BaseModule``.
        prefixes: of the inserts in its state dict.
    """

    def __init__(self, host: nn.Module, prefixes: Sequence[str]) -> None:
        self.host = host
        self.prefixes = tuple(prefixes)

    def __call__(self) -> None:
        held = {name: value for name, value in self.host.state_dict().items() if name.startswith(self.prefixes)}
        before = {name: value.clone() for name, value in held.items()}
        type(self.host).init_weights(self.host)
        with torch.no_grad():
            for name, value in held.items():  # these share memory with the parameters
                value.copy_(before[name])
