"""Files of gate parameters alone: a few MB, to be shared and put into another checkpoint of the same host."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatefuse_plugins.checkpoints.migration.execute import Result
from gatefuse_plugins.checkpoints.migration.families import Config, family_of
from gatefuse_plugins.checkpoints.migration.plan import Plan, make_plan
from gatefuse_plugins.checkpoints.migration.provenance import provenance
from gatefuse_plugins.checkpoints.migration.source import PROVENANCE, Source, open_source
from gatefuse_plugins.checkpoints.migration.verify import chosen_config, new_values
from gatefuse_plugins.checkpoints.migration.writers import check_target, write_safetensors
from gatefuse_plugins.checkpoints.mismatch import closest
from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.files import file_digest
from gatefuse_plugins.gates.ownership import named_gate_parameters

_LISTED = 10


def export_gates(
    checkpoint: Source | str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    trust: bool = False,
    overwrite: bool = False,
) -> Result:
    """Write the gates' and fusions' own parameters of ``checkpoint``; which these are is asked of the modules.

    Args:
        checkpoint: of any origin.
        out: ``NAME.safetensors``.
        config: its model's config; ``None`` takes the one that the file itself holds.

    Raises:
        CheckpointError: no config is known; the checkpoint does not fit it or has no gates; ``out`` cannot be written.
    """
    source = open_source(checkpoint, trust)
    plan = make_plan(source, chosen_config(source, config))
    path = _target(out, source.path, overwrite)
    names = gate_names(plan.config)
    carried = {move.new for move in plan.moves}
    lacking = [name for name in names if name not in carried]
    if not names or lacking:
        what = f"lacks {', '.join(lacking[:_LISTED])}" if lacking else "is of a model without gates"
        raise CheckpointError(f"{source.path}: {what}; expected a checkpoint that holds all gates of its config")
    values = {name: tensor for name, tensor in new_values(plan).items() if name in names}
    record = provenance(plan, file_digest(source.path), "", None) | {"kind": "gates"}
    faulty = write_safetensors(path, values, {PROVENANCE: json.dumps(record)})
    return Result(path, {"exported": len(values)}, None, faulty)


def import_gates(
    gates: str | os.PathLike[str],
    checkpoint: Source | str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    trust: bool = False,
    overwrite: bool = False,
) -> Result:
    """Write ``checkpoint`` with the gates of the file ``gates``.

    Args:
        gates: from :func:`export_gates`.
        checkpoint: brings all other parameters; its own gates, if it has any, give way.
        config: model config of the result; ``None`` takes the one that ``gates`` holds.

    Raises:
        CheckpointError: the gates are not those of the config, or the checkpoint does not fit it.
    """
    held = open_source(gates, trust)
    # the gates' start is overwritten, and identity would refuse those that it cannot close
    plan = make_plan(checkpoint, chosen_config(held, config), init="balanced", trust=trust)
    _check_gates(held, plan)
    if plan.faults:
        listed = "\n  ".join(plan.faults[:_LISTED])
        raise CheckpointError(f"{plan.source.path}: does not fit the gates' model:\n  {listed}")
    path = _target(out, plan.source.path, overwrite)
    values = new_values(plan) | held.state
    record = provenance(plan, file_digest(plan.source.path), "", None)
    record |= {"exact": False, "gates": {"name": held.path.name, "sha256": file_digest(held.path)}}
    faulty = write_safetensors(path, values, {PROVENANCE: json.dumps(record)})
    others = [row.new for row in plan.named("new") if row.new not in held.state]
    notes = [f"{len(others)} parameters are in neither file and start anew: {', '.join(map(str, others[:5]))}"]
    return Result(path, {"gates": len(held.state), "others": len(plan.moves)}, None, faulty, notes if others else [])


def gate_names(config: Config) -> set[str]:
    """Names of the parameters that gates and fusions brought into a model of ``config``."""
    return {name for name, _parameter in named_gate_parameters(family_of(config).skeleton(config))}


def _check_gates(held: Source, plan: Plan) -> None:
    expected = {
        name: tuple(parameter.shape) for name, parameter in named_gate_parameters(plan.family.skeleton(plan.config))
    }
    faults = [f"{name}: missing" for name in expected if name not in held.state]
    for name, tensor in held.state.items():
        if name not in expected:
            near = closest(name, list(expected), 1)
            faults.append(f"{name}: no gate of the config" + (f" (nearest: {near[0]})" if near else ""))
        elif expected[name] != tuple(tensor.shape):
            faults.append(f"{name}: shape {tuple(tensor.shape)}, the config's {expected[name]}")
    if faults:
        listed = "\n  ".join(faults[:_LISTED])
        raise CheckpointError(f"{held.path}: {len(faults)} parameters do not fit the config's gates:\n  {listed}")


def _target(out: str | os.PathLike[str], source: Path, overwrite: bool) -> Path:
    path = check_target(out, source, overwrite)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"--out {path}: gates hold no optimizer state; expected NAME.safetensors")
    return path
