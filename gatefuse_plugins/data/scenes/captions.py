"""English modification captions, each of which determines the target scene given the reference scene."""

from __future__ import annotations

from gatefuse_plugins.data.scenes.edits import Edit, EditKind
from gatefuse_plugins.data.scenes.vocabulary import CELL_NAMES, COLOUR_NAMES, EMPTY, SHAPES, SIZES, Scene, decode

_TEMPLATES: dict[EditKind, tuple[str, ...]] = {
    "add": (
        "add a {new} in the {where}",
        "put a {new} in the {where}",
        "there is also a {new} in the {where}",
        "has a {new} in the {where} as well",
    ),
    "remove": ("remove the {old}", "take away the {old}", "the {old} is gone", "the same without the {old}"),
    "recolour": (
        "make the {old} {colour}",
        "paint the {old} {colour}",
        "change the colour of the {old} to {colour}",
        "the {old} is now {colour}",
    ),
    "resize": ("make the {old} {size}", "make the {old} {compared}", "{verb} the {old}", "the {old} is now {size}"),
    "move": (
        "move the {old} to the {where}",
        "shift the {old} to the {where}",
        "the {old} is now in the {where}",
        "place the {old} in the {where} instead",
    ),
    "replace": (
        "replace the {old} with a {new}",
        "swap the {old} for a {new}",
        "has a {new} instead of the {old}",
        "turn the {old} into a {new}",
    ),
}
_COMPARATIVES = ("smaller", "larger")  # in the order of SIZES
_VERBS = ("shrink", "enlarge")


def captions_for(reference: Scene, edit: Edit) -> list[str]:
    """Every phrasing of ``edit``, in a fixed order.

    An object is named by its attributes only where exactly one object of ``reference`` has them, and else by its cell;
    what is new is named completely. So no phrasing of one edit is also a phrasing of another edit of ``reference``.
    """
    old_phrases = _referring_phrases(reference, edit.cell) if edit.before != EMPTY else [""]
    fields = _fields_of_result(edit)
    return [template.format(old=old, **fields) for template in _TEMPLATES[edit.kind] for old in old_phrases]


def describe(code: int) -> str:
    """``"small red circle"``."""
    shape, colour, size = decode(code)
    return f"{SIZES[size]} {COLOUR_NAMES[colour]} {SHAPES[shape]}"


def _fields_of_result(edit: Edit) -> dict[str, str]:
    where = edit.cell if edit.destination is None else edit.destination
    fields = {"where": CELL_NAMES[where]}
    if edit.after != EMPTY:
        _, colour, size = decode(edit.after)
        fields |= {"new": describe(edit.after), "colour": COLOUR_NAMES[colour], "size": SIZES[size]}
        fields |= {"compared": _COMPARATIVES[size], "verb": _VERBS[size]}
    return fields


def _referring_phrases(scene: Scene, cell: int) -> list[str]:
    """Names that fit the object in ``cell`` and no other object of ``scene``."""
    shape, colour, size = decode(scene[cell])
    others = [decode(code) for index, code in enumerate(scene) if code != EMPTY and index != cell]
    colour_name, shape_name = COLOUR_NAMES[colour], SHAPES[shape]
    phrases = [f"{colour_name} {shape_name} in the {CELL_NAMES[cell]}"]
    if (shape, colour, size) not in others:
        phrases.append(f"{SIZES[size]} {colour_name} {shape_name}")
    if all((shape, colour) != other[:2] for other in others):
        phrases.append(f"{colour_name} {shape_name}")
    if all(shape != other[0] for other in others):
        phrases.append(shape_name)
    return phrases
