"""A mapping being made, and the rows that tell of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from gatefuse_plugins.checkpoints.migration.moves import Move

STATUSES = ("kept", "renamed", "reshaped", "new", "dropped", "conflicting")


@dataclass(frozen=True)
class Row:
    """One line of a plan; ``status`` is one of ``STATUSES``."""

    status: str
    old: str | None
    new: str | None
    old_shape: tuple[int, ...] | None
    new_shape: tuple[int, ...] | None
    note: str = ""


@dataclass
class Mapped:
    """A mapping being made: where old parameters go, what is left out, what is wrong, what is new.

    Attributes:
        old: the checkpoint's parameters; ``new``: names and shapes of the model's.
        conflicts: old parameters without a place, with the reason; ``aimed``: the new names that some of them have.
        lacking: new parameters that the checkpoint should have had, with the reason.
    """

    old: dict[str, Tensor]
    new: dict[str, tuple[int, ...]]
    moves: list[Move] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, str] = field(default_factory=dict)
    aimed: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def rows_and_moves(self) -> tuple[list[Row], list[Move]]:
        """The rows, in the checkpoint's order, then what is new; and the moves."""
        by_old: dict[str, list[Move]] = {}
        for move in self.moves:
            by_old.setdefault(move.old, []).append(move)
        rows = []
        for name, tensor in self.old.items():
            shape = tuple(tensor.shape)
            for move in by_old.get(name, []):
                status = "kept" if move.new == name else "renamed"
                note, target = "", shape
                if move.reshape is not None:
                    status, note, target = "reshaped", str(move.reshape), move.reshape.shape(shape)
                rows.append(Row(status, name, move.new, shape, target, note))
            if name in self.dropped:
                rows.append(Row("dropped", name, None, shape, None, self.dropped[name]))
            if name in self.conflicts:
                aim = self.aimed.get(name)
                rows.append(Row("conflicting", name, aim, shape, self.new.get(aim or name), self.conflicts[name]))
        rows += [Row("conflicting", None, name, None, self.new[name], why) for name, why in self.lacking.items()]
        rows += [Row("new", None, name, None, self.new[name]) for name in self.fresh]
        return rows, self.moves
