"""Gates that were put into a host: in slots of its layers, or under the child that injection reserves.

The child's keys say where: ``gatefuse_injection.inserts.layers/0/linear2/output.raw`` acts on the output of the module
``layers.0.linear2``. Of residual gates the parameters also tell what they are; other inserts need the config that
put them there.
"""

from __future__ import annotations

from typing import Any

from gatefuse_plugins.checkpoints.migration.hosts import Rules
from gatefuse_plugins.checkpoints.migration.structure.shapes import Shapes

CHILD = "gatefuse_injection"
_RESIDUAL = r"(raw|head\.2\.weight)"
_RESIDUAL_GATES = ({"raw"}, {f"head.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")})
_SLOT = rf"(transformer\.\w+\.layers\.\d+)\.(attention|ffn)_gate\.{_RESIDUAL}"
_INSERT = rf"{CHILD}\.inserts\.([^.:]+)/(input|output)\.{_RESIDUAL}"


def recognise(shapes: Shapes, recorded: Rules) -> dict[str, Any]:
    """The field ``injection`` of an ``Identity``; empty where nothing was injected.

    Args:
        shapes: of the checkpoint.
        recorded: rules of the config that the file itself holds; they tell what equal shapes leave open (a pooled and
            a clipwise head).
    """
    slots = [(match, match[1], f"{match[2]}_gate", match[3]) for match in shapes.matches(_SLOT)]
    inserts = [(match, match[1].replace("/", "."), match[2], match[3]) for match in shapes.matches(_INSERT)]
    if not (slots or shapes.under(CHILD)):
        return {}
    if recorded:
        return {"injection": recorded}
    places: dict[str, set[str]] = {}
    for name in shapes.under(f"{CHILD}.inserts"):
        place, _, parameter = name.removeprefix(f"{CHILD}.inserts.").partition(".")
        places.setdefault(place, set()).add(parameter)
    if len(places) > len(inserts) or not all(held in _RESIDUAL_GATES for held in places.values()):
        return {"injection": None}
    return {
        "injection": [
            {"pattern": path, "at": at, "gate": _gate(shapes, match[0], last)}
            for match, path, at, last in [*slots, *inserts]
        ]
    }


def _gate(shapes: Shapes, name: str, last: str) -> dict[str, Any]:
    if last == "raw":
        return {"type": "ResidualGate"}
    granularity = "elementwise" if shapes.width(name, 0) > 1 else "global"
    return {"type": "ResidualGate", "granularity": granularity, "hidden_dim": shapes.width(name, 1)}
