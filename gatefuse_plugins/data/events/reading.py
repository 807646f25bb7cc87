"""What is known about an embedded event set beyond its labels: where audio is off-topic, and the kind of each query."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.data.events.queries import KINDS
from gatefuse_plugins.data.events.store import OFF_TOPIC
from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.files import read_json


def off_topic_mask(root: Path) -> dict[str, NDArray[np.bool_]]:
    """By vid, shape (L,): True in clips whose audio does not belong to the picture.

    A sample is off-topic as a whole where its mask is True throughout.

    Raises:
        DataError: ``root`` holds no embedded event set, or its mask is malformed.
    """
    path = Path(root) / OFF_TOPIC
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected an embedded set as make_qvhighlights_events writes it")
    stored = read_json(path)
    if not isinstance(stored, dict):
        raise DataError(f"{path}: holds a {type(stored).__name__}, expected an object of vid -> list of 0 and 1")
    faults = [vid for vid, mask in stored.items() if not isinstance(mask, list) or not set(mask) <= {0, 1}]
    if faults:
        raise DataError(f"{path}: {faults[0]} (and {len(faults) - 1} more) is no list of 0 and 1")
    return {vid: np.asarray(mask, bool) for vid, mask in stored.items()}


def query_kinds(root: Path, split: str) -> dict[int, str]:
    """By qid: ``sound``, ``sight`` or ``both``, for the ``train``, ``val`` or ``test`` queries in QVHighlights' layout.

    Raises:
        DataError: there is no such split, or a line is broken or has no valid ``query_kind``.
    """
    path = Path(root) / f"highlight_{split}_release.jsonl"
    if not path.is_file():
        near = suggestion(path.name, [found.name for found in Path(root).glob("highlight_*_release.jsonl")])
        raise DataError(f"{path}: no such file; expected an embedded set in QVHighlights' layout{near}")
    kinds: dict[int, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            qid, kind = int(entry["qid"]), entry["query_kind"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: expected an object with qid and query_kind ({error!r})") from error
        if kind not in KINDS:
            raise DataError(f"{path}:{number}: query_kind {kind!r} is unknown{suggestion(str(kind), KINDS)}")
        kinds[qid] = kind
    return kinds
