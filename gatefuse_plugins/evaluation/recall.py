"""Ranks by counting, and recall from ranks.

The rank of a target needs no sorted gallery: it is one plus the number of competitors that score at least as high.
One comparison and one count a score, O(gallery) a query instead of O(gallery log gallery), and ties count against us.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError

Scores = NDArray[np.floating]
Indices = NDArray[np.integer]

CHUNK_ELEMENTS = 1 << 19
"""Scores compared at a time: the boolean temporary of a chunk (0.5 MiB) stays in a core's cache."""


def target_ranks(similarity: Scores, target: Indices, excluded: Indices | None = None) -> NDArray[np.int64]:
    """Rank of every query's target in the gallery, 1 for the best.

    Args:
        similarity: (Nq, Ng) scores, higher is better; may be memory-mapped, it is read in chunks of rows.
        target: (Nq,) gallery index of each query's target.
        excluded: (Nq,) gallery index that does not compete for that query (CIRR: the reference image).

    Returns:
        (Nq,) ranks in 1..Ng. An entry that ties with the target stands before it.

    Raises:
        DataError: a shape or an index does not fit, a score is NaN, or a target is its query's excluded entry.
    """
    similarity = np.asarray(similarity)
    if similarity.ndim != 2 or similarity.size == 0:
        raise DataError(f"similarity has shape {similarity.shape}, expected (queries, gallery), neither of them 0")
    queries, gallery = similarity.shape
    target = check_indices("target", target, (queries,), gallery)
    if excluded is not None:
        excluded = check_indices("excluded", excluded, (queries,), gallery)
        if (same := np.flatnonzero(target == excluded)).size:
            raise DataError(f"{_rows(same)}: target and reference are one image, which is left out of the gallery")
    ranks = np.empty(queries, np.int64)
    step = max(1, CHUNK_ELEMENTS // gallery)
    for start in range(0, queries, step):
        stop = min(start + step, queries)
        rows, scores = np.arange(stop - start), similarity[start:stop]
        reject_nan(scores, start)
        own = scores[rows, target[start:stop]]
        # The target counts itself, which turns the number of entries before it into its rank.
        ranks[start:stop] = np.count_nonzero(scores >= own[:, None], axis=1)
        if excluded is not None:
            ranks[start:stop] -= scores[rows, excluded[start:stop]] >= own
    return ranks


def subset_ranks(
    similarity: Scores, target: Indices, members: Indices, excluded: Indices | None = None
) -> NDArray[np.int64]:
    """Rank of every query's target among its own subset ``members`` (Nq, M) of the gallery, 1 for the best.

    Arguments and errors otherwise as :func:`target_ranks`; a target must be one of its query's members.
    """
    similarity = np.asarray(similarity)
    if similarity.ndim != 2 or similarity.size == 0:
        raise DataError(f"similarity has shape {similarity.shape}, expected (queries, gallery), neither of them 0")
    queries, gallery = similarity.shape
    target = check_indices("target", target, (queries,), gallery)
    members = check_indices("members", members, (queries, np.shape(members)[-1] if np.ndim(members) else 0), gallery)
    if (absent := np.flatnonzero((members == target[:, None]).sum(axis=1) != 1)).size:
        raise DataError(f"{_rows(absent)}: the target must be exactly once among the subset's members")
    rows = np.arange(queries)[:, None]
    scores = similarity[rows, members]
    reject_nan(scores, 0)
    before = scores >= similarity[rows, target[:, None]]
    if excluded is not None:
        excluded = check_indices("excluded", excluded, (queries,), gallery)
        before &= members != excluded[:, None]
    return np.count_nonzero(before, axis=1).astype(np.int64)


def recall_at(ranks: NDArray[np.int64], ks: Sequence[int]) -> list[float]:
    """Percentage of ``ranks`` (N,) that are at most k, for each k."""
    if ranks.size == 0:
        raise DataError("recall of no queries is undefined; at least one rank is expected")
    return [100.0 * np.count_nonzero(ranks <= k) / ranks.size for k in ks]


def check_indices(name: str, values: Indices, shape: tuple[int, ...], bound: int) -> NDArray[np.integer]:
    """``values`` as an integer array of ``shape`` within ``0..bound-1``; DataError that names ``name`` otherwise."""
    array = np.asarray(values)
    if array.shape != shape:
        raise DataError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{name} has dtype {array.dtype}, expected integers (gallery indices)")
    outside = (array < 0) | (array >= bound)
    if outside.any():
        first = tuple(int(axis[0]) for axis in np.nonzero(outside))
        raise DataError(
            f"{name}{list(first)} is {array[first]}, expected 0..{bound - 1} ({outside.sum()} such entries)"
        )
    return array


def reject_nan(scores: Scores, first_row: int) -> None:
    """DataError that names the query whose ``scores`` (rows, columns) hold NaN; row 0 is query ``first_row``."""
    # min() propagates NaN in one vectorised pass without the boolean temporary of isnan(); NaN compares false with
    # everything, so an undetected one would silently improve the rank.
    if np.isnan(scores.min()):
        row, column = (int(axis[0]) for axis in np.nonzero(np.isnan(scores)))
        raise DataError(
            f"similarity of query {first_row + row} holds NaN (at column {column} of what was compared); "
            "expected numbers: look for NaN in the features that it was computed from"
        )


def _rows(rows: NDArray[np.integer]) -> str:
    shown = ", ".join(str(row) for row in rows[:5])
    return f"query {shown}" + (f" and {rows.size - 5} more" if rows.size > 5 else "")
