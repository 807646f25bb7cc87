"""Gates over image tokens, laid over the reference picture, and what the query retrieves."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gatefuse_plugins.analysis.gates.html.blocks import Section
from gatefuse_plugins.analysis.gates.html.rounding import rounded, rounded_list
from gatefuse_plugins.analysis.gates.report import GateReport

if TYPE_CHECKING:
    from gatefuse_plugins.analysis.gates.gate_map import GateMap, TokenMap

MAX_MAPS = 50
_SIDE, _THUMBNAIL = 288, 112


def gate_maps(report: GateReport) -> Section | None:
    """One entry for each of the first ``MAX_MAPS`` gate maps."""
    if not report.gate_maps:
        return None
    found = [_gate_map(one) for one in report.gate_maps[:MAX_MAPS]]
    note = (
        f"{len(found)} of {len(report.gate_maps)} queries. Orange: above the neutral value, blue: below it, clear: at"
        " it; the strongest colour is the largest distance in that picture."
    )
    block = {"type": "maps", "note": note, "maps": found}
    return {"id": "maps", "title": "Gate maps", "blocks": [block]}


def _gate_map(one: GateMap) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "caption": one.caption,
        "reference": one.reference,
        "rank": one.rank,
        "competitors": one.competitors,
        "picture": None if one.picture is None else data_uri(one.picture, _SIDE),
        "maps": [_token_map(token_map) for token_map in one.maps],
        "retrievals": [
            {
                "rank": found.rank,
                "name": found.name,
                "score": rounded(found.score),
                "target": bool(found.is_target),
                "picture": None if found.picture is None else data_uri(found.picture, _THUMBNAIL),
            }
            for found in one.retrievals
        ],
    }


def _token_map(token_map: TokenMap) -> dict[str, Any]:
    return {
        "name": token_map.name,
        "kind": token_map.kind,
        "neutral": rounded(token_map.neutral),
        "distance": token_map.distance,
        "values": rounded_list(token_map.values),
    }


def data_uri(picture: NDArray[np.uint8], side: int) -> str:
    """``picture`` (h, w, 3) as JPEG of at most ``side`` pixels a side, for ``src``."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
