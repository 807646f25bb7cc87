"""How to read a gate: its range, what its sign or size means, and where it changes nothing, in plain sentences."""

from __future__ import annotations

from gatefuse_plugins.analysis.gates.data import GateInfo

_ACTS_ON = {
    "attention": "what the context (audio or text) adds to the stream",
    "ffn": "the feed-forward branch that joins the stream after the context",
    "query": "how much of the attention's query stays video, the rest being text",
    "image": "how far each image token and feature follows the text",
    "shift": "the shift that the context adds to the features",
    "delta": "the direction in which the text moves image features",
}


def acts_on(kind: str) -> str:
    """What gates of a kind (one of ``TAP_KINDS``) act on."""
    return _ACTS_ON[kind]


def value_range(gate: GateInfo) -> str:
    """``0 to 1``, ``from 0, no upper bound``, ``no bounds``."""
    if gate.low is None and gate.high is None:
        return "no bounds"
    if gate.low is None or gate.high is None:
        return f"from {gate.low:g}, no upper bound" if gate.low is not None else f"up to {gate.high:g}, no lower bound"
    return f"{gate.low:g} to {gate.high:g}"


def meaning(gate: GateInfo) -> str:
    """What values below, at and above the neutral one mean, from the gate's kind, range and neutral value."""
    if gate.kind == "query":
        return "1 leaves the query to the video alone; smaller values mix more of the text in, 0 leaves only text."
    if gate.neutral != 0:
        ends = "" if gate.low is None else f" {gate.low:g} switches it off," if gate.low == 0 else ""
        return (
            f"A factor on a branch that the model has anyway: {gate.neutral:g} leaves it as it is,{ends} smaller values"
            " weaken it and larger ones strengthen it."
        )
    if gate.kind in ("shift", "delta"):
        return "0 changes nothing. Size is how far, the sign is in which direction: it is neither good nor bad."
    if gate.low is not None and gate.low >= 0:
        top = "" if gate.high is None else f", most at {gate.high:g}"
        return f"0 is shut: nothing passes. The larger, the more passes{top}."
    return (
        "0 is shut: nothing passes. Positive values add the branch, negative ones subtract it; how much is the distance"
        " from 0, so a mean near 0 may hide strong gates of both signs (look at the spread)."
    )
