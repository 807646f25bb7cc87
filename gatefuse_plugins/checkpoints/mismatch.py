"""How a checkpoint and a model differ, told in one message."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from gatefuse_plugins.errors import nearest

if TYPE_CHECKING:
    from torch import nn

    from gatefuse_plugins.checkpoints.reader import Checkpoint

Shape = tuple[int, ...]
_LISTED = 20  # keys listed a group; past that a model of another kind was loaded, and more names tell no more


@dataclass
class Mismatch:
    """Keys that differ between checkpoint and model; falsy when there are none.

    Attributes:
        missing: keys of the model that the checkpoint lacks.
        unexpected: keys of the checkpoint that the model lacks.
        conflicts: keys of both whose shapes differ: (shape in the checkpoint, shape in the model).
    """

    missing: list[str]
    unexpected: list[str]
    conflicts: dict[str, tuple[Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.conflicts)

    def describe(self, checkpoint: Checkpoint, model: nn.Module) -> str:
        """The whole message: cause where it is known, then each group of keys with the nearest candidates."""
        lines = [
            f"{checkpoint.path}: the checkpoint (origin {checkpoint.origin}) does not fit {type(model).__name__};"
            " the model was left as it was"
        ]
        if cause := self._fusion_cause(model):
            lines.append(cause)
        lines += _group("missing from the checkpoint", self.missing, self.unexpected)
        lines += _group("unexpected in the checkpoint", self.unexpected, self.missing)
        conflicts = [
            f"{name}: checkpoint {stored}, model {expected}" for name, (stored, expected) in self.conflicts.items()
        ]
        lines += _group("of another shape", conflicts, ())
        lines.append(
            "tools/migrate.py run FILE --config CONFIG --out NEW makes it fit, --drop PATTERN leaves keys out; in code,"
            " load_into has drop= and allow_missing="
        )
        return "\n".join(lines)

    def _fusion_cause(self, model: nn.Module) -> str:
        differing = [name for name in [*self.missing, *self.unexpected, *self.conflicts] if _in_fusion(name)]
        if not differing:
            return ""
        here = next((type(module).__name__ for name, module in model.named_modules() if _is_fusion(name)), None)
        stored = [name for name in self.unexpected if _in_fusion(name)]
        model_has = f"the model's is {here}" if here else "the model has none"
        carries = f"; only the checkpoint has {', '.join(stored[:3])}" if stored else ""
        return (
            f"the checkpoint carries another fusion than the model: {model_has}, and {len(differing)} differing keys"
            f" lie in 'fusion.'{carries}. Use the config that the checkpoint was trained with"
        )


def _is_fusion(name: str) -> bool:
    return name.rpartition(".")[2] == "fusion"


def _in_fusion(name: str) -> bool:
    return "fusion" in name.split(".")[:-1]


def closest(name: str, pool: list[str], count: int = 3) -> list[str]:
    """The ``count`` names of ``pool`` that read most like ``name``, best first (may be empty)."""
    return nearest(name, _kin(name, pool), count)


def _group(title: str, entries: list[str], candidates: Iterable[str]) -> list[str]:
    if not entries:
        return []
    pool = list(candidates)
    lines = [f"{len(entries)} {title}:"]
    for entry in entries[:_LISTED]:
        near = closest(entry, pool, count=1)
        lines.append(f"  {entry}" + (f" (nearest: {near[0]})" if near else ""))
    if len(entries) > _LISTED:
        lines.append(f"  ... and {len(entries) - _LISTED} more")
    return lines


def _kin(name: str, pool: list[str], count: int = 16) -> list[str]:
    """The ``count`` names of ``pool`` that share most segments with ``name``, and of equals the longest beginning.

    Comparing letter by letter against every key of a large model takes seconds; counting segments does not.
    """
    segments = set(name.split("."))

    def kinship(other: str) -> tuple[int, int]:
        beginning = takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False))
        return len(segments.intersection(other.split("."))), len(list(beginning))

    return heapq.nlargest(count, pool, key=kinship)
