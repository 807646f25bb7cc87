"""Carry out a plan: verify it, then write the new file whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatefuse_plugins.checkpoints.migration.comparison import Comparison
from gatefuse_plugins.checkpoints.migration.plan import Plan
from gatefuse_plugins.checkpoints.migration.provenance import provenance
from gatefuse_plugins.checkpoints.migration.source import PROVENANCE
from gatefuse_plugins.checkpoints.migration.training_state import carry_training_state
from gatefuse_plugins.checkpoints.migration.verify import compare_plan, new_values
from gatefuse_plugins.checkpoints.migration.writers import check_target, write_safetensors, write_torch
from gatefuse_plugins.checkpoints.safety.values import non_finite
from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.files import file_digest

_KEPT_META = ("vision_digest", "dataset_identity", "vision_state")


@dataclass(frozen=True)
class Result:
    """What a migration wrote.

    Attributes:
        path: the new file.
        counts: parameters by status.
        comparison: of old and new model; ``None`` where it was not asked for.
        non_finite: name and count of NaN and infinite elements; they were migrated as they are.
        notes: what else is worth knowing.
    """

    path: Path
    counts: dict[str, int]
    comparison: Comparison | None = None
    non_finite: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def migrate(
    plan: Plan,
    out: str | os.PathLike[str],
    verify: bool = True,
    config_name: str = "",
    overwrite: bool = False,
    training: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Carry out ``plan``; on any error nothing is written and nothing that was there is lost.

    Args:
        plan: without faults.
        out: ``NAME.safetensors`` for weights; ``NAME.pth``, an mmengine checkpoint, where optimizer state travels.
        verify: compare old and new model on seeded inputs first; an exact plan whose outputs differ is not carried out.
        config_name: for the record, as given by the user.
        overwrite: replace an existing ``out`` (never the source).
        training: for ``.pth``: the resolved config, whose ``optim_wrapper`` and ``param_scheduler`` the state is for.
        progress: told the number of bytes written, block by block.

    Raises:
        CheckpointError: the plan has faults, ``out`` cannot be written to, old and new model differ, the source changed
            meanwhile, or its training state does not fit.
    """
    if plan.faults:
        listed = "\n  ".join(plan.faults)
        raise CheckpointError(f"{plan.source.path}: not migrated, {len(plan.faults)} faults:\n  {listed}")
    path = check_target(out, plan.source.path, overwrite)
    before = _stamp(plan.source.path)
    comparison = compare_plan(plan) if verify else None
    if comparison is not None and plan.exact and not comparison.equal:
        listed = "\n  ".join(comparison.lines())
        raise CheckpointError(
            f"{plan.source.path}: the migrated model would not be the same; nothing written:\n  {listed}"
        )
    values = new_values(plan)
    record = provenance(plan, file_digest(plan.source.path), config_name, comparison)
    notes: list[str] = []

    def unchanged() -> None:
        if _stamp(plan.source.path) != before:
            raise CheckpointError(f"{plan.source.path}: changed while it was read; nothing written. Try again")

    if path.suffix == ".safetensors":
        metadata = {PROVENANCE: json.dumps(record)}
        faulty = write_safetensors(path, values, metadata, unchanged, progress)
        if plan.source.training:
            notes.append(f"{', '.join(plan.source.training)} stayed behind; --out NAME.pth takes what resuming needs")
    else:
        faulty = non_finite(values)
        meta = plan.source.checkpoint.meta
        state: dict[str, Any] = {}
        kept = {name: meta[name] for name in _KEPT_META if name in meta}
        if plan.source.training and training is not None:
            state, kept_progress, more = carry_training_state(plan, training)
            kept |= kept_progress
            notes += more
        if "vision_state" in kept:  # stays where our own training keeps a small frozen encoder
            values = {name: tensor for name, tensor in values.items() if not name.startswith("visual_encoder.")}
        content = {"meta": {**kept, PROVENANCE: json.dumps(record)}, "state_dict": values, **state}
        write_torch(path, content, unchanged, progress)
    return Result(path, plan.counts(), comparison, faulty, notes)


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
