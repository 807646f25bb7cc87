"""Single edits of a scene: the six modifications that a caption can ask for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gatefuse_plugins.data.scenes.vocabulary import COLOUR_NAMES, EMPTY, SHAPES, SIZES, Scene, decode, encode

EditKind = Literal["add", "remove", "recolour", "resize", "move", "replace"]


@dataclass(frozen=True)
class Edit:
    """One modification: ``cell`` turns from code ``before`` to ``after``; a move also fills ``destination``."""

    kind: EditKind
    cell: int
    before: int
    after: int
    destination: int | None = None

    def apply(self, scene: Scene) -> Scene:
        """The edited scene; raises ``ValueError`` if ``scene`` does not hold what the edit starts from."""
        if scene[self.cell] != self.before or (self.destination is not None and scene[self.destination] != EMPTY):
            raise ValueError(f"{self} does not start from scene {scene}")
        edited = list(scene)
        edited[self.cell] = self.after
        if self.destination is not None:
            edited[self.destination] = self.before
        return tuple(edited)


def single_edit(reference: Scene, target: Scene) -> Edit | None:
    """The one edit that turns ``reference`` into ``target``, or None where they are equal or further apart."""
    changed = [cell for cell, (old, new) in enumerate(zip(reference, target, strict=True)) if old != new]
    if len(changed) == 1:
        cell = changed[0]
        return Edit(_kind_of_change(reference[cell], target[cell]), cell, reference[cell], target[cell])
    if len(changed) == 2:
        for cell, destination in (changed, reversed(changed)):
            moved = target[cell] == reference[destination] == EMPTY and reference[cell] == target[destination]
            if moved:
                return Edit("move", cell, reference[cell], EMPTY, destination)
    return None


def random_object(rng: random.Random, shapes: Sequence[int]) -> int:
    """The code of a random object with its shape among ``shapes`` (indices into ``SHAPES``)."""
    return encode(rng.choice(shapes), rng.randrange(len(COLOUR_NAMES)), rng.randrange(len(SIZES)))


def random_edit(scene: Scene, rng: random.Random, shapes: Sequence[int] = range(len(SHAPES))) -> Edit:
    """An edit that ``scene`` allows, its kind uniform among the possible ones; at least one object always stays."""
    filled = [cell for cell, code in enumerate(scene) if code != EMPTY]
    empty = [cell for cell, code in enumerate(scene) if code == EMPTY]
    kinds: list[EditKind] = ["recolour", "resize"]
    kinds += ["replace"] if len(shapes) > 1 else []  # a replacement changes the shape, else it were a recolouring
    kinds += ["remove"] if len(filled) > 1 else []
    kinds += ["add", "move"] if empty else []
    kind = rng.choice(kinds)
    if kind == "add":
        return Edit("add", rng.choice(empty), EMPTY, random_object(rng, shapes))
    cell = rng.choice(filled)
    before = scene[cell]
    if kind == "move":
        return Edit("move", cell, before, EMPTY, rng.choice(empty))
    if kind == "remove":
        return Edit("remove", cell, before, EMPTY)
    shape, colour, size = decode(before)
    if kind == "recolour":
        after = encode(shape, rng.choice([other for other in range(len(COLOUR_NAMES)) if other != colour]), size)
    elif kind == "resize":
        after = encode(shape, colour, 1 - size)
    else:
        after = random_object(rng, [other for other in shapes if other != shape])
    return Edit(kind, cell, before, after)


def _kind_of_change(before: int, after: int) -> EditKind:
    if before == EMPTY:
        return "add"
    if after == EMPTY:
        return "remove"
    (shape, colour, size), (new_shape, new_colour, new_size) = decode(before), decode(after)
    if (shape, size) == (new_shape, new_size):
        return "recolour"
    if (shape, colour) == (new_shape, new_colour):
        return "resize"
    return "replace"
