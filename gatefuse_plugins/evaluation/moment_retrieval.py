"""Moment retrieval of QVHighlights: mean average precision and recall by length of the ground-truth windows.

Definitions follow the QVHighlights evaluation (Lei et al., NeurIPS 2021, ``standalone_eval``).
"""

from __future__ import annotations

import numpy as np

from gatefuse_plugins.evaluation.moment_labels import align, percent, require_windows
from gatefuse_plugins.evaluation.moments import (
    IOU_THRESHOLDS,
    Entries,
    Floats,
    Mask,
    hull_iou,
    interpolated_ap,
    match_windows,
    pad_rows,
    temporal_iou,
)

LENGTH_RANGES = {"short": (0, 10), "middle": (10, 30), "long": (30, 150), "full": None}
"""Seconds (lo, hi] of the ground-truth windows that count; ``full`` takes every window."""

MAX_WINDOWS = 10  # of a submission's list, before it is sorted by score


def moment_retrieval_metrics(predictions: Entries, annotations: Entries) -> dict[str, dict[str, dict[str, float]]]:
    """``{range: {"MR-mAP": {"0.5": ..., "average": ...}, "MR-R1": {"0.5": ...}}}``; arguments as above.

    mAP: up to ten windows a query, sorted by score. R1: the first window listed, against its best ground truth. A query
    that lists no window has AP 0 and no recall (the official code stops there).
    """
    windows, truth, truth_mask = listed_windows(align(predictions, annotations), annotations)
    thresholds = np.asarray(IOU_THRESHOLDS)
    names = [str(threshold) for threshold in IOU_THRESHOLDS]
    length = truth[..., 1] - truth[..., 0]
    iou = ranked_iou(windows, truth)
    result = {}
    for name, bounds in LENGTH_RANGES.items():
        counted = truth_mask if bounds is None else truth_mask & (bounds[0] < length) & (length <= bounds[1])
        rows = np.flatnonzero(counted.any(axis=1))
        if rows.size == 0:
            continue
        counted = counted[rows]
        hits = match_windows(iou[rows] * counted[:, None], thresholds)
        precision = interpolated_ap(hits, counted.sum(axis=1)).mean(axis=0)
        recall = (first_iou(windows[rows], truth[rows], counted)[:, None] >= thresholds).mean(axis=0)
        result[name] = {
            "MR-mAP": {key: percent(value) for key, value in zip(names, precision, strict=True)}
            | {"average": percent(precision.mean())},
            "MR-R1": {key: percent(value) for key, value in zip(names, recall, strict=True)},
        }
    return result


def mean_top1_iou(predictions: Entries, annotations: Entries) -> float:
    """``MR-full-mIoU``: mean IoU of the first window listed with its best ground truth; not an official figure."""
    windows, truth, mask = listed_windows(align(predictions, annotations), annotations)
    return percent(first_iou(windows, truth, mask).mean())


def listed_windows(aligned: Entries, annotations: Entries) -> tuple[Floats, Floats, Mask]:
    """(Q, P, 3) windows as listed, score -inf at padding; (Q, G, 2) ground truth and its (Q, G) mask.

    Args:
        aligned: predictions in the order of ``annotations``.
    """
    require_windows(annotations)
    windows, mask = pad_rows(aligned, "pred_relevant_windows", 3, limit=MAX_WINDOWS)
    windows[..., 2][~mask] = -np.inf
    truth, truth_mask = pad_rows(annotations, "relevant_windows", 2)
    return windows, truth, truth_mask


def ranked_iou(windows: Floats, truth: Floats) -> Floats:
    """(Q, P, G) IoU, predictions sorted by score, equal scores as listed; padding has length 0 and so IoU 0."""
    order = np.argsort(-windows[..., 2], axis=1, kind="stable")
    ranked = np.take_along_axis(windows, order[..., None], axis=1)
    return temporal_iou(ranked[:, :, None, :2], truth[:, None])


def first_iou(windows: Floats, truth: Floats, mask: Mask) -> Floats:
    """(Q,) overlap of the first listed window with the ground truth that it fits best."""
    first = windows[:, :1, :2]
    best = np.where(mask, temporal_iou(first, truth), -1.0).argmax(axis=1)
    return hull_iou(first[:, 0], truth[np.arange(len(truth)), best])
