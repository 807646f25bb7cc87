"""Any checkpoint into a live model, migrated on the way: what ``load_from=`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.migration.plan import Plan, make_plan
from gatefuse_plugins.checkpoints.migration.source import open_source
from gatefuse_plugins.checkpoints.migration.verify import new_values
from gatefuse_plugins.checkpoints.reader import Checkpoint
from gatefuse_plugins.checkpoints.safety.values import listed, non_finite
from gatefuse_plugins.errors import CheckpointError


def load_from_any(
    model: nn.Module,
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    init: str = "identity",
    seed: int = 0,
    allow_inexact: bool = False,
    trust: bool = False,
) -> str:
    """Migrate the checkpoint at ``path`` in memory and load it into ``model``.

    Args:
        model: built from ``config``; unchanged when this raises.
        path: of any origin that can be migrated, also a finished migration or an own checkpoint.
        config: the ``model`` node of the resolved config.
        init: start of parameters that the checkpoint lacks, see :func:`~.start.start`; ``seed`` of random starts.
        allow_inexact: load also where outputs change.
        trust: unpickle without restrictions.

    Returns:
        What was done, in words.

    Raises:
        CheckpointError: unreadable, of another kind of model, or with parameters that have no place.
    """
    plan = make_plan(open_source(path, trust), config, init, seed, allow_inexact)
    if plan.faults:
        listed = "\n  ".join(plan.faults[:20])
        raise CheckpointError(f"{path} does not fit the config's model, which was left as it was:\n  {listed}")
    held = model.state_dict()
    values = {name: tensor for name, tensor in new_values(plan).items() if name in held or not _frozen(name, plan)}
    tops = {name.split(".", 1)[0] for name in held} & set(plan.family.frozen)
    absent = [f"{top}.**" for top in sorted(tops) if not any(name.startswith(f"{top}.") for name in values)]
    load_into(model, Checkpoint(values, plan.found.origin, {}, Path(path)), allow_missing=absent)
    return describe(plan, absent, non_finite(values))


def describe(plan: Plan, absent: list[str], odd: Mapping[str, int]) -> str:
    """What a plan did, in one line; ``absent`` parts stay as built, ``odd`` tensors hold NaN or infinity."""
    found = plan.found
    counts = ", ".join(f"{count} {status}" for status, count in plan.counts().items())
    text = f"{plan.source.path}: {found.origin}, fusion {found.fusion}: {counts}"
    if plan.named("new"):
        text += f" (start: {plan.init})"
    for pattern in absent:
        text += f"; {pattern} is not in the file and stays as built"
    if odd:
        text += f"; warning: NaN or infinity in {len(odd)} tensors: {listed(odd, 5)}"
    return "; ".join([text, *(finding.message for finding in plan.findings)])


def _frozen(name: str, plan: Plan) -> bool:
    return name.split(".", 1)[0] in plan.family.frozen
