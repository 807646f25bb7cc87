"""Strict loading of a checkpoint into a model: plan first, touch the model only when the plan has no fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from gatefuse_plugins.checkpoints.mismatch import Mismatch
from gatefuse_plugins.checkpoints.reader import Checkpoint
from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.patterns import match_names

_VISUAL_ENCODER = "visual_encoder."
_POSITION_IDS = "position_ids"


@dataclass
class LoadReport:
    """What a load did.

    Attributes:
        kept: keys whose tensors are now in the model.
        dropped: keys of the checkpoint that were left out, each with the reason.
        missing: keys of the model that the checkpoint lacks, each with the reason why that is allowed.
    """

    kept: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.kept)} tensors loaded"]
        for verb, keys in (("dropped", self.dropped), ("not in the checkpoint", self.missing)):
            reasons = list(keys.values())
            parts += [f"{reasons.count(reason)} {verb} ({reason})" for reason in dict.fromkeys(reasons)]
        return ", ".join(parts)


def load_into(
    model: nn.Module, checkpoint: Checkpoint, drop: Sequence[str] = (), allow_missing: Sequence[str] = ()
) -> LoadReport:
    """Load ``checkpoint`` into ``model``; every key must find its place.

    Allowed without being asked: ``position_ids`` buffers absent or extra (transformers versions differ in keeping
    them); ``visual_encoder.`` keys where the model has none (its features come from a cache); tied weights stored
    once or several times (the parameter's first name in the model wins).

    Args:
        model: filled in place; unchanged when this raises.
        checkpoint: from :func:`~gatefuse_plugins.checkpoints.reader.read_checkpoint`.
        drop: dotted globs over the checkpoint's keys to leave out.
        allow_missing: dotted globs over the model's keys that may keep the values they have.

    Raises:
        CheckpointError: lists all missing, unexpected and shape-conflicting keys at once.
        PatternError: a pattern of ``drop`` or ``allow_missing`` is malformed or matches nothing.
    """
    expected: dict[str, Tensor] = model.state_dict()
    state = dict(checkpoint.state_dict)
    report = LoadReport()
    _leave_out(state, expected, drop, checkpoint, report)
    _leave_out_tied(state, model, report)
    _excuse_missing(state, expected, allow_missing, model, report)

    mismatch = Mismatch(
        missing=[name for name in expected if name not in state and name not in report.missing],
        unexpected=[name for name in state if name not in expected],
        conflicts={
            name: (tuple(state[name].shape), tuple(expected[name].shape))
            for name in expected
            if name in state and state[name].shape != expected[name].shape
        },
    )
    if mismatch:
        raise CheckpointError(mismatch.describe(checkpoint, model))
    model.load_state_dict(state, strict=False)  # strictness was ours: the plan above accounts for every key
    report.kept = list(state)
    return report


def _leave_out(
    state: dict[str, Tensor],
    expected: dict[str, Tensor],
    drop: Sequence[str],
    checkpoint: Checkpoint,
    report: LoadReport,
) -> None:
    for pattern in drop:
        for name in match_names(pattern, checkpoint.state_dict, host=f"the checkpoint {checkpoint.path}"):
            report.dropped.setdefault(name, f"asked for by {pattern!r}")
    has_encoder = any(name.startswith(_VISUAL_ENCODER) for name in expected)
    for name in state:
        if name.startswith(_VISUAL_ENCODER) and not has_encoder:
            report.dropped.setdefault(name, "the model has no visual encoder, its features come from a cache")
        elif name.rpartition(".")[2] == _POSITION_IDS and name not in expected:
            report.dropped.setdefault(name, "the model builds position_ids itself")
    for name in report.dropped:
        state.pop(name, None)


def _tied_groups(model: nn.Module) -> list[list[str]]:
    """Names that share one parameter, the first name in the model's order leading each group."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _leave_out_tied(state: dict[str, Tensor], model: nn.Module, report: LoadReport) -> None:
    """Of tied names in the checkpoint keep one; else the last to be copied would win, by accident of order."""
    for names in _tied_groups(model):
        present = [name for name in names if name in state]
        for name in present[1:]:
            report.dropped[name] = f"tied to {present[0]}"
            del state[name]
        if present:
            report.missing.update({name: f"tied to {present[0]}" for name in names if name != present[0]})


def _excuse_missing(
    state: dict[str, Tensor],
    expected: dict[str, Tensor],
    allow_missing: Sequence[str],
    model: nn.Module,
    report: LoadReport,
) -> None:
    for pattern in allow_missing:
        for name in match_names(pattern, expected, host=type(model).__name__):
            if name not in state:
                report.missing.setdefault(name, f"allowed by {pattern!r}")
    for name in expected:
        if name not in state and name.rpartition(".")[2] == _POSITION_IDS:
            report.missing.setdefault(name, "the model builds position_ids itself")
