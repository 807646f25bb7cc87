"""Optimizer and scheduler state: moments follow their parameters, new parameters start fresh, resuming works."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.families import old_model
from gatefuse_plugins.checkpoints.migration.mapping import map_names
from gatefuse_plugins.checkpoints.migration.moves import Move
from gatefuse_plugins.checkpoints.migration.plan import Plan
from gatefuse_plugins.checkpoints.migration.schedules import carry_schedules
from gatefuse_plugins.errors import CheckpointError

# Chosen by the new config, not by the run that is carried on: how the step is computed, not what it computes.
_IMPLEMENTATION = ("params", "fused", "foreach", "capturable", "differentiable")
_PROGRESS = ("epoch", "iter", "seed", "experiment_name")


def carry_training_state(plan: Plan, training: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """State for an mmengine checkpoint that training resumes from.

    Args:
        plan: of a source with training state.
        training: the new config, resolved: ``optim_wrapper`` and ``param_scheduler``.

    Returns:
        Entries of the checkpoint; entries of its ``meta``; what is worth knowing.

    Raises:
        CheckpointError: the state belongs to other parameters or to another kind of optimizer.
    """
    held = plan.source.training
    if "optimizer" not in held:
        what = ", ".join(held)
        return {}, {}, [f"the source holds {what} but no optimizer state beside its weights, so none travels"]
    old = held["optimizer"]
    names = _parameter_order(plan, sum(len(group["params"]) for group in old["param_groups"]))
    optimizer = _new_optimizer(plan, training)
    _check_kind(plan, old, training)
    state = _carried(plan, old, names, optimizer)
    meta, steps = _progress(plan, old)
    entries: dict[str, Any] = {"optimizer": state, "message_hub": held.get("message_hub", _empty_hub())}
    schedules, notes = carry_schedules(held, training.get("param_scheduler"), old["param_groups"], meta, steps)
    fresh = len(plan.named("new"))
    notes.append(f"moments of {len(state['state'])} parameters travel; {fresh} new ones start fresh")
    return entries | {"param_schedulers": schedules}, meta, notes


def _parameter_order(plan: Plan, count: int) -> list[str]:
    """Old names in the order of the optimizer's numbers: that of the state dict, buffers and tied copies left out."""
    found, family = plan.found, plan.family
    old_config = old_model(found, plan.config)
    mapped = map_names(plan.source, found, family, old_config, (), split=False)
    dropped = {name for name, why in mapped.dropped.items() if "tied to" in why or "position_ids" in why}
    names = [name for name in plan.source.state if name not in dropped]
    if len(names) == count:
        return names
    # a frozen encoder that was put beside the weights was never trained; parameters that the model itself does not
    # train are left out where the config gives groups of parameters options of their own
    trained = [name for name in names if name.split(".", 1)[0] not in family.frozen]
    still = {name for name, parameter in family.skeleton(old_config).named_parameters() if not parameter.requires_grad}
    by_old = {move.old: move.new for move in mapped.moves}
    for candidate in (trained, [name for name in trained if by_old.get(name) not in still]):
        if len(candidate) == count:
            return candidate
    raise CheckpointError(
        f"{plan.source.path}: its optimizer holds {count} parameters, its model {len(names)}, so moments cannot be told"
        " apart; --out NAME.safetensors migrates the weights alone"
    )


def _new_optimizer(plan: Plan, training: Mapping[str, Any]) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Parameter names by group, and the groups' options, of the optimizer that the new config makes."""
    model = plan.family.skeleton(plan.config)
    wrapper = dict(training["optim_wrapper"])
    wrapper["optimizer"] = {k: v for k, v in wrapper["optimizer"].items() if k not in ("fused", "foreach")}
    wrapper["type"] = "OptimWrapper"  # mixed precision asks for a device and orders no parameters
    wrapper.pop("loss_scale", None)
    wrapper.pop("dtype", None)
    with _quiet():
        built = build_optim_wrapper(model, wrapper).optimizer
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [[by_id[id(parameter)] for parameter in group["params"]] for group in built.param_groups]
    stated = training["optim_wrapper"]["optimizer"]
    options = [
        {**group, **{key: stated[key] for key in ("fused", "foreach") if key in stated}} for group in built.param_groups
    ]
    return groups, options


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """mmengine logs every parameter's options; these optimizers are only looked at, never used."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _check_kind(plan: Plan, old: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """One step of the new kind of optimizer shows what it keeps a parameter; the old one must have kept the same."""
    probe = nn.Linear(1, 1, bias=False)
    wrapper = {"type": "OptimWrapper", "optimizer": dict(training["optim_wrapper"]["optimizer"])}
    with _quiet():
        optimizer = build_optim_wrapper(probe, wrapper).optimizer
    probe.weight.grad = torch.zeros_like(probe.weight)
    optimizer.step()
    expected = set(optimizer.state[probe.weight])
    for entry in old["state"].values():
        if set(entry) != expected:
            raise CheckpointError(
                f"{plan.source.path}: its optimizer keeps {', '.join(sorted(entry))}, a {type(optimizer).__name__}"
                f" {', '.join(sorted(expected))}; use the same optimizer, or --out NAME.safetensors for weights alone"
            )


def _carried(
    plan: Plan,
    old: Mapping[str, Any],
    names: list[str],
    optimizer: tuple[list[list[str]], list[dict[str, Any]]],
) -> dict[str, Any]:
    numbers = {name: number for number, name in enumerate(names)}
    by_new = {move.new: move for move in plan.moves}
    group_of = [group for group in old["param_groups"] for _number in group["params"]]
    state: dict[int, Any] = {}
    groups: list[dict[str, Any]] = []
    number = 0
    for members, options in zip(*optimizer, strict=True):
        sources = []
        for name in members:
            move = by_new.get(name)
            index = numbers.get(move.old) if move else None
            if move is not None and index is not None:
                sources.append(group_of[index])
                if index in old["state"]:
                    state[number] = _moments(plan, old["state"][index], move)
            number += 1
        carried = {key: value for key, value in sources[0].items() if key not in _IMPLEMENTATION} if sources else {}
        groups.append({**options, **carried, "params": list(range(number - len(members), number))})
    return {"state": state, "param_groups": groups}


def _moments(plan: Plan, entry: Mapping[str, Any], move: Move) -> dict[str, Any]:
    shape = plan.source.state[move.old].shape
    moved = {}
    for key, value in entry.items():
        if isinstance(value, Tensor) and value.dim() and value.shape != shape:
            raise CheckpointError(
                f"{plan.source.path}: {key} of {move.old} has shape {tuple(value.shape)}, the parameter {tuple(shape)}:"
                " the optimizer's state belongs to another order of parameters"
            )
        moved[key] = move.apply(value) if isinstance(value, Tensor) and value.dim() else value
    return moved


def _progress(plan: Plan, old: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Epochs and iterations done. Upstream counts epochs from 0 and no iterations: the optimizer's steps are those."""
    meta = {name: plan.source.checkpoint.meta[name] for name in _PROGRESS if name in plan.source.checkpoint.meta}
    steps = max((int(entry["step"]) for entry in old["state"].values() if "step" in entry), default=0)
    if "iter" in meta:
        return meta, steps
    return {**meta, "epoch": int(meta.get("epoch", -1)) + 1, "iter": steps}, steps


def _empty_hub() -> dict[str, Any]:
    return MessageHub("migration").state_dict()
