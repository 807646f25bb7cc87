"""Learning-rate schedules of a run that is carried on."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from gatefuse_plugins.errors import CheckpointError


def carry_schedules(
    held: Mapping[str, Any],
    config: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None,
    groups: Sequence[Mapping[str, Any]],
    meta: Mapping[str, Any],
    steps: int,
) -> tuple[list[dict[str, Any]], list[str]]:
    """State of the schedules of an mmengine checkpoint.

    Args:
        held: the source's training state. mmengine's schedules go along as they are; a torch schedule is replaced by
            the config's, wound forward to the same epoch.
        config: ``param_scheduler`` of the new config.
        groups: the old optimizer's parameter groups, which hold ``initial_lr``.
        meta: with ``epoch``.
        steps: optimizer steps done.

    Returns:
        The states, and what is worth knowing.

    Raises:
        CheckpointError: other schedules than the config's, or one that counts iterations, of which a torch schedule
            tells nothing.
    """
    wanted = [config] if isinstance(config, Mapping) else list(config or ())
    if "param_schedulers" in held:
        states = list(held["param_schedulers"])
        if len(states) != len(wanted):
            raise CheckpointError(f"the checkpoint has {len(states)} schedules, the config {len(wanted)}; use the same")
        return states, []
    states = [_wound_forward(dict(node), groups, int(meta["epoch"])) for node in wanted]
    kinds = ", ".join(str(node["type"]) for node in wanted) or "none"
    return states, [f"schedule: the config's ({kinds}), at epoch {meta['epoch']}, iteration {steps}"]


def _wound_forward(node: dict[str, Any], groups: Sequence[Mapping[str, Any]], epoch: int) -> dict[str, Any]:
    if node.pop("convert_to_iter_based", False) or not node.get("by_epoch", True):
        raise CheckpointError(
            f"param_scheduler {node['type']} counts iterations, and the checkpoint does not tell how many an epoch has;"
            " use a schedule by epoch, or --out NAME.safetensors to start the schedule anew"
        )
    parameters = [nn.Parameter(torch.zeros(1)) for _group in groups]
    rates = [float(group.get("initial_lr", group["lr"])) for group in groups]
    optimizer = torch.optim.SGD([{"params": [p], "lr": rate} for p, rate in zip(parameters, rates, strict=True)])
    schedule = PARAM_SCHEDULERS.build(node, default_args={"optimizer": optimizer})
    for _epoch in range(epoch):
        optimizer.step()
        schedule.step()
    return copy.deepcopy(schedule.state_dict())
