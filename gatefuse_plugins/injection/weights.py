"""Saving and loading what injection brought, without the host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.writers import write_safetensors
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError, ConfigError, suggestion
from gatefuse_plugins.injection.apply import injection_of


def injected_state(model: nn.Module) -> dict[str, Tensor]:
    """The part of the host's state dict that injection brought, under the same names.

    Raises:
        ConfigError: nothing was injected.
    """
    prefixes = tuple(injection_of(model).prefixes())
    return {name: value.detach().cpu() for name, value in model.state_dict().items() if name.startswith(prefixes)}


def save_gates(model: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Write :func:`injected_state` as a safetensors file, whole or not at all; returns the names.

    Raises:
        ConfigError: nothing was injected, or the path does not end in .safetensors.
    """
    if Path(path).suffix != ".safetensors":
        raise ConfigError(f"{path}: expected NAME.safetensors")
    state = injected_state(model)
    plan = injection_of(model).plan
    write_safetensors(Path(path), state, {"format": "pt", "gatefuse": "injection", "host": plan.host})
    return list(state)


def load_gates(model: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Load a file of :func:`save_gates` into a host that was injected by the same rules; returns the names.

    Raises:
        CheckpointError: lists every missing, unexpected and misshapen tensor; the model is then unchanged.
        ConfigError: nothing was injected.
    """
    names = injected_state(model)
    own = {name: value for name, value in model.state_dict().items() if name in names}
    given = read_checkpoint(path).state_dict
    faults = _faults(own, given)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults[:20])
        more = f"\n  ... and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise CheckpointError(f"{path} does not fit this injection, {len(faults)} faults:\n{listed}{more}")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(given[name])
    return list(own)


def _faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    faults = [f"missing in the file: {name}" for name in own if name not in given]
    faults += [f"not in the model: {name}{suggestion(name, own)}" for name in given if name not in own]
    return faults + [
        f"{name}: shape {tuple(given[name].shape)} in the file, {tuple(value.shape)} in the model"
        for name, value in own.items()
        if name in given and given[name].shape != value.shape
    ]
