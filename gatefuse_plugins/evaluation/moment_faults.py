"""Checks of one line of a moment submission; each gives sentences that the reader puts a line number before."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from gatefuse_plugins.errors import nearest

IDENTITY = ("qid", "query", "vid")
WINDOWS, SALIENCY = "pred_relevant_windows", "pred_saliency_scores"


def missing_keys(entry: Mapping[str, Any], expected: tuple[str, ...]) -> list[str]:
    """A fault for every expected key that is not there, with the nearest one that should not be there."""
    strange = [name for name in entry if name not in (*IDENTITY, WINDOWS, SALIENCY)]
    faults = []
    for key in expected:
        if key not in entry:
            near = nearest(key, strange, 1)
            faults.append(f"lacks {key}" + (f"; is its {near[0]!r} meant?" if near else ""))
    return faults


def qid_key(qid: Any) -> str | int:
    """``qid``, or its text where it is of a type that identifies nothing (a list, 1.0, true, null)."""
    return qid if isinstance(qid, (str, int)) and not isinstance(qid, bool) else repr(qid)


def qid_faults(qid: Any, number: int, known: Mapping[str | int, Any], seen: dict[str | int, int]) -> list[str]:
    """Faults of the id in line ``number``; a known one is entered in ``seen`` with its first line."""
    if not isinstance(qid, (str, int)) or isinstance(qid, bool):
        return [f"qid is {qid!r}, expected an integer or a string as in the annotations"]
    if qid not in known:
        twin = int(qid) if isinstance(qid, str) and qid.isdecimal() else str(qid)
        return [f"qid {qid!r} is unknown" + (f"; the annotations have {twin!r}" if twin in known else "")]
    if (first := seen.setdefault(qid, number)) != number:
        return [f"qid {qid!r} stands in line {first} already"]
    return []


def is_number(value: Any) -> bool:
    """A finite JSON number; NaN compares false, and integers of any length compare."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def window_faults(windows: Any) -> list[str]:
    """Faults of a list that should hold at least one ``[start, end, score]`` with start <= end."""
    if not isinstance(windows, list) or not windows:
        return [f"{WINDOWS} is {_brief(windows)}, expected a list of at least one [start, end, score]"]
    faults = []
    for place, window in enumerate(windows):
        if not isinstance(window, list) or len(window) != 3 or not all(map(is_number, window)):
            faults.append(f"window {place} is {_brief(window)}, expected three finite numbers [start, end, score]")
        elif window[0] > window[1]:
            faults.append(f"window {place} starts at {window[0]} s and ends before, at {window[1]} s")
    return faults


def saliency_faults(scores: Any, needed: int = 0) -> list[str]:
    """Faults of a list that should hold finite numbers, at least one and at least ``needed``."""
    if not isinstance(scores, list) or not scores:
        return [f"{SALIENCY} is {_brief(scores)}, expected a list of one number a clip"]
    bad = [place for place, value in enumerate(scores) if not is_number(value)]
    if bad:
        return [f"{SALIENCY}[{bad[0]}] is {_brief(scores[bad[0]])}, expected a finite number ({len(bad)} such values)"]
    if len(scores) < needed:
        return [f"{SALIENCY} has {len(scores)} numbers for {needed} labelled clips"]
    return []


def odd_windows(windows: list[list[float]], duration: float) -> list[str]:
    """Notes on windows without fault, as predicates."""
    notes = []
    if any(later[2] > earlier[2] for earlier, later in pairwise(windows)):
        notes.append("list windows that are not sorted by score; recall takes the first one listed")
    if any(window[0] < 0 or window[1] > duration for window in windows):
        notes.append("list windows that reach beyond the video")
    return notes


def odd_saliency(scores: list[float], clips: int) -> list[str]:
    """Notes on the number of scores, as predicates."""
    if len(scores) < clips:
        return ["have fewer saliency scores than clips; the others count as 0"]
    return ["have more saliency scores than clips; those past the last are cut"] if len(scores) > clips else []


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
