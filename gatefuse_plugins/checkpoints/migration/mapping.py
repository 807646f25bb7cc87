"""From names and shapes of a checkpoint to those of a new model: every parameter of either side gets one row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gatefuse_plugins.checkpoints.migration.families import Config, Family
from gatefuse_plugins.checkpoints.migration.mapped import Mapped
from gatefuse_plugins.checkpoints.migration.moves import Move
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.checkpoints.migration.rules import rename
from gatefuse_plugins.checkpoints.migration.source import Source
from gatefuse_plugins.checkpoints.migration.splits import encoder_moves, split_audio
from gatefuse_plugins.checkpoints.migration.structure.injection import CHILD
from gatefuse_plugins.checkpoints.migration.tables import NEW_PARTS, TABLES
from gatefuse_plugins.checkpoints.mismatch import closest
from gatefuse_plugins.gates.ownership import named_gate_parameters
from gatefuse_plugins.patterns import compile_pattern, match_names

_POSITION_IDS = "position_ids"


def map_names(
    source: Source, found: Identity, family: Family, config: Config, drop: Sequence[str], split: bool
) -> Mapped:
    """Map the checkpoint's parameters to the model's.

    Args:
        source: the checkpoint, identified as ``found``.
        family: of the model, whose config is ``config``.
        drop: dotted globs over old names to leave out.
        split: cut what an inexact change asks to be cut.

    Raises:
        CheckpointError: names that no rule is about.
        PatternError: a pattern of ``drop`` matches nothing.
    """
    skeleton = family.skeleton(config)
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    mapped = Mapped(dict(source.state), expected)
    for pattern in drop:
        for name in match_names(pattern, mapped.old, host=f"the checkpoint {source.path}"):
            mapped.dropped.setdefault(name, f"asked for by {pattern!r}")
    rest = [name for name in mapped.old if name not in mapped.dropped]
    for name, target in rename(TABLES[found.origin], rest, expected).items():
        if target.new is None:
            mapped.dropped[name] = target.why
        elif found.origin == "avigate" and name.startswith("clip.") and name not in expected:
            _map_encoder(mapped, name, family, config)
        else:
            _map_one(mapped, name, target.new, family, config, found, split)
    _check_frozen(mapped, family, config)
    _merge_tied(mapped, skeleton)
    _find_new(mapped, skeleton, family)
    return mapped


def _map_encoder(mapped: Mapped, name: str, family: Family, config: Config) -> None:
    parts = [top for top in family.frozen if family.keeps_frozen(config, top)]
    moves, why = encoder_moves(name, tuple(mapped.old[name].shape), parts)
    mapped.moves += moves
    if not moves:
        mapped.dropped[name] = why


def _map_one(mapped: Mapped, name: str, new: str, family: Family, config: Config, found: Identity, split: bool) -> None:
    top, shape = new.split(".", 1)[0], tuple(mapped.old[name].shape)
    if top in family.frozen and new not in mapped.new:
        if family.keeps_frozen(config, top):
            mapped.moves.append(Move(name, new))
        else:
            mapped.dropped[name] = f"the config's model has no {top}: its features are given"
    elif new in mapped.new and mapped.new[new] == shape:
        mapped.moves.append(Move(name, new))
    elif new.rpartition(".")[2] == _POSITION_IDS:
        mapped.dropped[name] = "the model builds position_ids itself"
    elif split and (parts := split_audio(name, shape, mapped.new, found)):
        mapped.moves += parts
    elif new in mapped.new:
        mapped.conflicts[name], mapped.aimed[name] = f"has shape {shape}, the model's {new} {mapped.new[new]}", new
    else:
        mapped.conflicts[name] = _no_place(new, mapped, config)


def _no_place(name: str, mapped: Mapped, config: Config) -> str:
    if name.startswith("fusion.") and not config.get("fusion"):
        return "the config's model has no fusion; --drop 'fusion.**' leaves it out"
    if name.startswith(f"{CHILD}."):
        return f"the config injects nothing there; its rules have to match, or --drop '{CHILD}.**' leaves gates out"
    near = closest(name, list(mapped.new))
    return "the model has no such parameter" + (f" (nearest: {', '.join(near)})" if near else "")


def _check_frozen(mapped: Mapped, family: Family, config: Config) -> None:
    """Frozen parts are not in the skeleton; where their parameters can be told, those carried must be among them."""
    for top in family.frozen:
        carried = [move for move in mapped.moves if move.new.split(".", 1)[0] == top and move.new not in mapped.new]
        expected = family.frozen_shapes(config, top) if carried else None
        for move in carried if expected is not None else ():
            shape = tuple(move.apply(torch.empty(mapped.old[move.old].shape, device="meta")).shape)
            if (expected or {}).get(move.new) == shape:
                continue
            mapped.moves.remove(move)
            found = (expected or {}).get(move.new)
            why = f"shape {shape}, there {found}" if found else f"there is no {move.new}"
            mapped.conflicts[move.old] = f"the config's {top} is another encoder: {why}"


def _merge_tied(mapped: Mapped, skeleton: nn.Module) -> None:
    """Of names that share one parameter the first one's value is kept, under the first name."""
    groups: dict[int, list[str]] = {}
    for name, parameter in skeleton.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    by_new = {move.new: move for move in mapped.moves}
    for first, *others in (names for names in groups.values() if len(names) > 1):
        held = [name for name in (first, *others) if name in by_new]
        for name in held[1:]:
            values = [mapped.old[by_new[which].old] for which in (held[0], name)]
            note = f"tied to {held[0]}"
            if not torch.equal(*values):
                note += f", from which it differs in the checkpoint: the value of {held[0]} is kept"
            mapped.dropped[by_new[name].old] = note
            mapped.moves.remove(by_new[name])
        if held and held[0] != first:
            mapped.moves[mapped.moves.index(by_new[held[0]])] = Move(by_new[held[0]].old, first)
        for name in others if held else ():
            mapped.new.pop(name, None)


def _find_new(mapped: Mapped, skeleton: nn.Module, family: Family) -> None:
    gates = {name for name, _parameter in named_gate_parameters(skeleton)}
    allowed = [compile_pattern(pattern) for pattern in NEW_PARTS[family.name]]
    covered = {move.new for move in mapped.moves} | set(mapped.aimed.values())
    unused = list(mapped.conflicts)
    for name in mapped.new:
        if name in covered or name.rpartition(".")[2] == _POSITION_IDS:
            continue
        if name in gates or any(pattern.fullmatch(name) for pattern in allowed):
            mapped.fresh.append(name)
        else:
            near = closest(name, unused)
            mapped.lacking[name] = "missing from the checkpoint" + (f" (nearest: {', '.join(near)})" if near else "")
