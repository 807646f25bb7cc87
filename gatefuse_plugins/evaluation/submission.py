"""Files for CIRR's test server: written from a similarity, and validated before an upload.

The format (cirr.cecs.anu.edu.au/test_process): one JSON object a file, ``{"version": "rc2", "metric": "recall" |
"recall_subset", "<pairid>": [names, best first]}``, 50 names or 3, the reference image left out, at most 5 MB a file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.recall import Indices, Scores, check_indices, reject_nan
from gatefuse_plugins.files import atomic_writer

VERSION = "rc2"
LISTED = {"recall": 50, "recall_subset": 3}
"""Names per query that each metric's file lists."""

_ROWS = 256  # queries sorted at a time, so that index temporaries stay small beside the similarity


def write_submission(
    directory: str | Path,
    similarity: Scores,
    *,
    pairid: Sequence[int],
    gallery: Sequence[str],
    reference: Indices,
    members: Indices,
) -> tuple[Path, Path]:
    """Write ``recall.json`` and ``recall_subset.json`` into ``directory``, each atomically.

    Args:
        similarity: (Nq, Ng) scores, higher is better.
        pairid: (Nq,) the caption file's pair ids.
        gallery: (Ng,) image names.
        reference: (Nq,) gallery index of the reference image, which is never listed.
        members: (Nq, M) gallery indices of each query's image set, the reference among them.

    Returns:
        The two paths. A gallery of 50 images or fewer gives shorter lists (the server's own has 2,315).

    Raises:
        DataError: a shape or index does not fit, a score is NaN, pair ids repeat, or a reference is not in its set.
    """
    similarity = np.asarray(similarity)
    if similarity.shape != (len(pairid), len(gallery)) or similarity.size == 0:
        raise DataError(
            f"similarity has shape {similarity.shape}, expected ({len(pairid)} pair ids, {len(gallery)} gallery names)"
        )
    queries, images = similarity.shape
    if len(set(map(int, pairid))) != queries:
        raise DataError(f"pairid holds {len(set(map(int, pairid)))} distinct ids for {queries} queries, expected all")
    reference = check_indices("reference", reference, (queries,), images)
    members = check_indices("members", members, (queries, np.shape(members)[-1]), images)
    if not (single := (members == reference[:, None]).sum(axis=1) == 1).all():
        raise DataError(f"query {int(np.argmin(single))}: the reference must be exactly once among its set's members")
    chosen = {
        "recall": _best_of_gallery(similarity, reference, LISTED["recall"]),
        "recall_subset": _best_of_members(similarity, reference, members, LISTED["recall_subset"]),
    }
    names = np.asarray(gallery, dtype=object)
    paths = {metric: Path(directory) / f"{metric}.json" for metric in LISTED}
    for metric, path in paths.items():
        lists = {str(int(pair)): names[row].tolist() for pair, row in zip(pairid, chosen[metric], strict=True)}
        # Compact separators: 4,148 queries of 50 names come to 4.0 of the 5 MB allowed.
        text = json.dumps({"version": VERSION, "metric": metric, **lists}, separators=(",", ":"))
        with atomic_writer(path, "w") as stream:
            stream.write(text)
    return paths["recall"], paths["recall_subset"]


def _best_of_gallery(similarity: Scores, reference: Indices, count: int) -> NDArray[np.int64]:
    """(Nq, min(count, Ng - 1)) gallery indices, best first, without the reference."""
    queries, images = similarity.shape
    count = min(count, images - 1)
    best = np.empty((queries, count), np.int64)
    for start in range(0, queries, _ROWS):
        scores, own = similarity[start : start + _ROWS], reference[start : start + _ROWS, None]
        reject_nan(scores, start)
        # One more than needed: the reference is then dropped where it is among them, and the last one elsewhere.
        top = np.argpartition(-scores, count, axis=1)[:, : count + 1]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        keep = top != own
        keep[keep.all(axis=1), -1] = False
        best[start : start + _ROWS] = top[keep].reshape(-1, count)
    return best


def _best_of_members(similarity: Scores, reference: Indices, members: Indices, count: int) -> NDArray[np.int64]:
    """(Nq, min(count, M - 1)) gallery indices of members, best first, without the reference."""
    order = np.argsort(-np.take_along_axis(similarity, members, axis=1), axis=1, kind="stable")
    ordered = np.take_along_axis(members, order, axis=1)
    return ordered[ordered != reference[:, None]].reshape(len(members), -1)[:, :count]
