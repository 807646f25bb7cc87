"""Temporal detection on padded arrays: IoU of windows, greedy matching and average precision, for all queries at once.

Definitions follow the QVHighlights evaluation (Lei et al., NeurIPS 2021, ``standalone_eval``), which takes its average
precision from ActivityNet's detection evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Entries = Sequence[Mapping[str, Any]]
"""Objects of a submission or of an annotation file, one a query."""

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55, ... 0.95."""


def pad_rows(entries: Entries, key: str, width: int, limit: int | None = None) -> tuple[Floats, Mask]:
    """The lists under ``key``, whose items are ``width`` numbers each, as one array.

    Args:
        entries: one a query; ``qid`` names it in error messages.
        limit: items of each list that are taken; None takes all.

    Returns:
        (Q, N, width) values, 0 at padding, and (Q, N) mask, N the longest list (at least 1).

    Raises:
        DataError: an item has another length, or holds what is no finite number.
    """
    rows = [entry[key][:limit] for entry in entries]
    items = list(chain.from_iterable(rows))
    if not all(isinstance(item, Sized) for item in items):
        raise DataError(f"{key}: expected lists of {width} numbers, found numbers alone")
    if (strange := next((item for item in items if len(item) != width), None)) is not None:
        raise DataError(f"{key}: {list(strange)} has {len(strange)} entries, expected {width}")
    return _fill(chain.from_iterable(items), rows, (width,), key, entries)


def pad_numbers(entries: Entries, key: str) -> tuple[Floats, Mask]:
    """The lists of numbers under ``key`` as (Q, N) values and mask; otherwise as :func:`pad_rows`."""
    rows = [entry[key] for entry in entries]
    return _fill(chain.from_iterable(rows), rows, (), key, entries)


def _fill(
    numbers: Iterable[float], rows: Sequence[Sized], item: tuple[int, ...], key: str, entries: Entries
) -> tuple[Floats, Mask]:
    counts = np.fromiter(map(len, rows), np.int64, len(rows))
    try:
        flat = np.fromiter(numbers, np.float64).reshape(-1, *item)
    except (TypeError, ValueError) as error:
        raise DataError(f"{key}: expected numbers ({error})") from error
    mask = np.arange(max(1, counts.max(initial=0))) < counts[:, None]
    values = np.zeros((*mask.shape, *item))
    values[mask] = flat
    if not np.isfinite(flat).all():
        broken = np.unique(np.argwhere(~np.isfinite(values))[:, 0])
        raise DataError(
            f"{key} of qid {entries[broken[0]]['qid']!r} hold NaN or infinity ({broken.size} such queries); "
            "expected finite numbers"
        )
    return values, mask


def temporal_iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of windows ``[start, end]`` on the last axis, the other axes broadcast; 0 for 0 / 0."""
    inter = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    np.clip(inter, 0, None, out=inter)
    union = (first[..., 1] - first[..., 0]) + (second[..., 1] - second[..., 0]) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def hull_iou(first: Floats, second: Floats) -> Floats:
    """Intersection over the hull of both windows, which the official recall uses; equals the IoU where they overlap."""
    inter = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    hull = np.maximum(first[..., 1], second[..., 1]) - np.minimum(first[..., 0], second[..., 0])
    return np.divide(np.maximum(inter, 0), hull, out=np.zeros_like(inter), where=hull > 0)


def match_windows(iou: Floats, thresholds: Floats) -> Mask:
    """Greedy assignment of predictions to ground truth, each ground-truth window used once a threshold.

    Args:
        iou: (Q, P, G), predictions best first; 0 wherever prediction or ground truth is padding.
        thresholds: (T,) positive.

    Returns:
        (Q, P, T) True where a prediction takes a window: the free one of highest IoU (of equal ones the last, as the
        official code does), if that reaches the threshold.
    """
    queries, predictions, windows = iou.shape
    iou = iou[:, :, ::-1]  # argmax takes the first of equal maxima
    hits = np.zeros((queries, predictions, thresholds.size), bool)
    free = np.ones((queries, windows, thresholds.size), bool)
    near = iou.max(axis=2) >= thresholds.min()
    for rank in range(predictions):
        rows = np.flatnonzero(near[:, rank])  # most predictions reach no threshold with any window
        overlap = iou[rows, rank, :, None]
        open_now = free[rows]
        candidates = open_now & (overlap >= thresholds)
        best = np.where(candidates, overlap, -1.0).argmax(axis=1)[:, None]
        hit = np.take_along_axis(candidates, best, axis=1)
        np.put_along_axis(open_now, best, np.take_along_axis(open_now, best, axis=1) & ~hit, axis=1)
        free[rows] = open_now
        hits[rows, rank] = hit[:, 0]
    return hits


def interpolated_ap(hits: Mask, positives: NDArray[np.integer]) -> Floats:
    """(Q, T) average precision from (Q, P, T) ``hits`` by rank and (Q,) numbers of ground-truth windows (at least 1).

    Precision is interpolated (VOC 2011: the highest at this or any later rank). Padding at the end adds no hit, so it
    lowers precision there and changes nothing.
    """
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)[:, None]
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (highest * hits).sum(axis=1) / positives[:, None]
