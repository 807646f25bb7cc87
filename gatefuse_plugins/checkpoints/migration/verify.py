"""Whether two checkpoints compute the same: seeded inputs through both, large frozen encoders weight by weight."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.migration.comparison import Comparison, measure
from gatefuse_plugins.checkpoints.migration.families import Config, Family, family_of, old_model
from gatefuse_plugins.checkpoints.migration.mapping import map_names
from gatefuse_plugins.checkpoints.migration.plan import Plan
from gatefuse_plugins.checkpoints.migration.provenance import plain
from gatefuse_plugins.checkpoints.migration.recognise import Identity, recognise, refine
from gatefuse_plugins.checkpoints.migration.source import Source, open_source
from gatefuse_plugins.checkpoints.migration.start import start
from gatefuse_plugins.checkpoints.reader import Checkpoint
from gatefuse_plugins.errors import CheckpointError


def compare_plan(plan: Plan, seed: int = 0) -> Comparison:
    """Compare a plan's source with what the plan makes of it, before anything is written.

    Raises:
        CheckpointError: the old model cannot be rebuilt from the checkpoint.
    """
    return _compare(plan.source, plan.found, plan.config, new_values(plan), seed)


def compare_files(
    old: Source | str | os.PathLike[str],
    new: Source | str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    trust: bool = False,
) -> Comparison:
    """Compare two checkpoint files.

    Args:
        old: the original.
        new: what was made of it.
        config: the new model's config; ``None`` takes the one that ``new`` itself holds.

    Raises:
        CheckpointError: a file cannot be read, or there is no config, or a model cannot be rebuilt.
    """
    made = open_source(new, trust)
    config = chosen_config(made, config)
    source = open_source(old, trust)
    return _compare(source, refine(recognise(source), config), config, made.state, seed)


def chosen_config(source: Source, config: Mapping[str, Any] | None) -> Config:
    """The model config ``config``; where it is ``None`` the one that ``source`` itself holds.

    Raises:
        CheckpointError: neither is there.
    """
    chosen = config or source.model
    if not chosen:
        raise CheckpointError(f"{source.path}: does not tell its model's config; name one with --config")
    return dict(plain(chosen))


def compare_values(
    config: Mapping[str, Any],
    values: Mapping[str, Tensor],
    other_config: Mapping[str, Any],
    other: Mapping[str, Tensor],
    seed: int = 0,
) -> Comparison:
    """Compare two models of one family by their configs and parameters, frozen encoders left out."""
    family = family_of(config)
    batches = family.batches(dict(config), seed)
    old, new = (_outputs(family, dict(c), v, batches) for c, v in ((config, values), (other_config, other)))
    return Comparison(*measure(old, new))


def new_values(plan: Plan) -> dict[str, Tensor]:
    """The new model's parameters by name: views of the checkpoint's, and the starts of the new ones."""
    values = {move.new: move.apply(plan.source.state[move.old]) for move in plan.moves}
    fresh = [row.new for row in plan.named("new") if row.new]
    if fresh:
        model = plan.family.starting(plan.config, plan.seed)
        start(model, fresh, plan.init, plan.seed)
        state = model.state_dict()
        values |= {name: state[name] for name in fresh}
    return values


def _compare(source: Source, found: Identity, config: Config, values: Mapping[str, Tensor], seed: int) -> Comparison:
    family = family_of(config)
    old_config = old_model(found, config)
    _check_built(source, family, old_config)
    batches = family.batches({**old_config, **{name: size for name, size in config.items() if size is not None}}, seed)
    upstream = old_config if found.origin in ("gatefuse", "unknown") else family.upstream_padding(old_config)
    old = old_values(source, found, family, old_config)
    new = _outputs(family, config, values, batches)
    reference = _outputs(family, old_config, old, {"padded": batches["padded"]})
    reference |= _outputs(family, upstream, old, {"full": batches["full"]})
    informative = {}
    if upstream is not old_config:
        other = _outputs(family, upstream, old, {"padded": batches["padded"]})
        text = "{}, were padding treated as upstream does (the config chooses otherwise)"
        informative = {text.format(name): value for name, value in measure(other, new)[0].items()}
    return Comparison(*measure(reference, new), _compare_frozen(family, old, values), informative)


def _check_built(source: Source, family: Family, old_config: Config) -> None:
    try:
        family.skeleton(old_config)
    except Exception as error:  # a config from a stranger's file makes a constructor raise nearly anything
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{source.path}: the old model cannot be rebuilt: {reason}") from error


def old_values(source: Source, found: Identity, family: Family, old_config: Config) -> dict[str, Tensor]:
    """The checkpoint's own parameters under the host's names, for a host of ``old_config``.

    Raises:
        CheckpointError: it does not fit that host.
    """
    frozen = {top: {"type": "kept"} for top in family.frozen if top != "visual_encoder"}
    mapped = map_names(source, found, family, {**old_config, **frozen}, (), split=False)
    faults = [f"{name}: {why}" for name, why in (mapped.conflicts | mapped.lacking).items()]
    if faults:
        listed = "\n  ".join(faults[:10])
        raise CheckpointError(
            f"{source.path}: the old model cannot be rebuilt, so nothing can be compared:\n  {listed}"
        )
    values = {move.new: move.apply(source.state[move.old]) for move in mapped.moves}
    seen = {name: tensor for name, tensor in source.state.items() if name.split(".", 1)[0] == "visual_encoder"}
    return values | seen


def _outputs(
    family: Family, config: Config, values: Mapping[str, Tensor], batches: Mapping[str, Any]
) -> dict[str, Any]:
    model = family.runnable(config)
    run = {name: tensor for name, tensor in values.items() if name.split(".", 1)[0] not in family.frozen}
    absent = [name for name in ("prompt_tokens",) if name in model.state_dict() and name not in run]
    load_into(model, Checkpoint(run, "state_dict", {}, Path("migrated")), allow_missing=absent)
    with torch.inference_mode():
        return {kind: family.outputs(model, batch) for kind, batch in batches.items()}


def _compare_frozen(family: Family, old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, tensor in new.items():
        top = name.split(".", 1)[0]
        if top in family.frozen:
            same = name in old and old[name].shape == tensor.shape and torch.equal(old[name], tensor)
            counts[top] = counts.get(top, 0) + (not same)
    return counts
