"""Labels of moment annotations as padded arrays, and predictions in the order of the annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.moments import Entries, Mask, pad_rows


def field(entries: Entries, key: str, what: str = "annotation") -> bool:
    """Whether the entries have ``key`` (a null counts as absent); DataError where only some of them do."""
    present = [entry.get(key) is not None for entry in entries]
    if any(present) and not all(present):
        first = entries[present.index(False)]
        raise DataError(
            f"{present.count(False)} of {len(present)} {what}s have no {key} (first: qid {first.get('qid')!r}); "
            "expected all or none"
        )
    return any(present)


def align(predictions: Entries, annotations: Entries) -> list[Mapping[str, Any]]:
    """The prediction of every annotation, in the annotations' order.

    Raises:
        DataError: no annotation at all, a query without prediction or with two, or a prediction of an unknown query
            (the official evaluation asserts that the query ids are equal).
    """
    if not annotations:
        raise DataError("no annotations, so no metric exists; expected at least one query")
    by_qid = {entry["qid"]: entry for entry in predictions}
    known = {entry["qid"] for entry in annotations}
    faults = []
    if missing := [entry["qid"] for entry in annotations if entry["qid"] not in by_qid]:
        faults.append(f"{len(missing)} of {len(known)} queries have no prediction (qid {shown(missing)})")
    if strange := [qid for qid in by_qid if qid not in known]:
        faults.append(f"{len(strange)} predictions are of unknown queries (qid {shown(strange)})")
    if repeated := len(predictions) - len(by_qid):
        faults.append(f"{repeated} predictions repeat a qid")
    if repeated := len(annotations) - len(known):
        faults.append(f"{repeated} annotations repeat a qid")
    if faults:
        raise DataError("; ".join(faults) + "; expected one prediction a query")
    return [by_qid[entry["qid"]] for entry in annotations]


def shown(values: Sequence[object], count: int = 20) -> str:
    """The first ``count`` values, and how many follow."""
    more = f" and {len(values) - count} more" if len(values) > count else ""
    return ", ".join(map(repr, values[:count])) + more


def percent(share: float) -> float:
    """``share`` times 100, rounded to two digits as the official evaluation does."""
    return float(f"{100 * share:.2f}")


def require_windows(annotations: Entries) -> None:
    """DataError where a query has no ground-truth window: neither its precision nor its recall is defined."""
    if bare := [entry["qid"] for entry in annotations if not entry.get("relevant_windows")]:
        raise DataError(f"{len(bare)} queries have no relevant_windows (qid {shown(bare)}); expected at least one each")


def clip_count(duration: float, clip_length: float) -> int:
    """Whole clips of a video; the slack keeps 0.6 s at 3 clips of 0.2 s."""
    return int(duration / clip_length + 1e-6)


def clip_labels(annotations: Entries, clip_length: float) -> tuple[NDArray[np.float64], Mask]:
    """Annotators' scores of every clip; clips that are not relevant have 0.

    Returns:
        (S, Q, C) scores of S annotators (QVHighlights: 3, in 0..4), and (Q, C) mask of the clips that a video has.

    Raises:
        DataError: scores and clips differ in number, annotators differ in number, or a clip is outside its video.
    """
    counts = np.asarray([clip_count(entry["duration"], clip_length) for entry in annotations])
    clips = [entry["relevant_clip_ids"] for entry in annotations]
    scores = [entry["saliency_scores"] for entry in annotations]
    lengths = [len(row) for row in clips]
    if lengths != [len(row) for row in scores]:
        entry = next(e for e in annotations if len(e["relevant_clip_ids"]) != len(e["saliency_scores"]))
        raise DataError(
            f"qid {entry['qid']!r}: {len(entry['saliency_scores'])} saliency_scores for "
            f"{len(entry['relevant_clip_ids'])} relevant_clip_ids, expected one a clip"
        )
    annotators = len(next(chain.from_iterable(scores), (0, 0, 0)))
    values, given = pad_rows(annotations, "saliency_scores", annotators)
    query = np.repeat(np.arange(len(lengths)), lengths)
    clip = np.fromiter(chain.from_iterable(clips), np.int64, len(query))
    if (outside := np.flatnonzero((clip < 0) | (clip >= counts[query]))).size:
        where = query[outside[0]]
        raise DataError(
            f"qid {annotations[where]['qid']!r}: relevant clip {clip[outside[0]]} is outside its {counts[where]} clips "
            f"({outside.size} such clips); duration {annotations[where]['duration']} s at {clip_length} s a clip"
        )
    labels = np.zeros((annotators, len(lengths), max(1, counts.max())))
    labels[:, query, clip] = values[given].T
    return labels, np.arange(labels.shape[2]) < counts[:, None]
