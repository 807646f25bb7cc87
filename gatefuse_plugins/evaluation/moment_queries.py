"""Figures of single queries, whose mean over queries is the official figure: what intervals and correlations need.

Definitions follow the QVHighlights evaluation (Lei et al., NeurIPS 2021, ``standalone_eval``); see
:mod:`~gatefuse_plugins.evaluation.moment_retrieval` and :mod:`~gatefuse_plugins.evaluation.highlights`.
"""

from __future__ import annotations

import numpy as np

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.highlights import SALIENCY_LEVELS, highlight_ap, hit_at_one
from gatefuse_plugins.evaluation.moment_labels import align, clip_labels, field, require_windows
from gatefuse_plugins.evaluation.moment_retrieval import MAX_WINDOWS
from gatefuse_plugins.evaluation.moments import (
    IOU_THRESHOLDS,
    Entries,
    Floats,
    hull_iou,
    interpolated_ap,
    match_windows,
    pad_numbers,
    pad_rows,
    temporal_iou,
)
from gatefuse_plugins.evaluation.tvsum import TOP, top_ap

RECALL_THRESHOLDS = (0.5, 0.7)


def query_figures(predictions: Entries, annotations: Entries, clip_length: float = 2.0) -> dict[str, Floats]:
    """QVHighlights' brief figures of every query, (Q,) percentages in the order of ``annotations``.

    Args:
        predictions, annotations, clip_length: as
            :func:`~gatefuse_plugins.evaluation.qvhighlights.qvhighlights_metrics`.

    Returns:
        ``MR-full-R1@0.5 MR-full-R1@0.7 MR-full-mAP MR-full-mIoU`` where windows are predicted and labelled,
        ``HL-min-Fair-mAP HL-min-Fair-Hit1`` and so on where saliency is. The mean of each is the figure of that name
        before its rounding to two digits.

    Raises:
        DataError: queries of the two do not match one to one, or a value is no finite number.
    """
    aligned = align(predictions, annotations)
    figures: dict[str, Floats] = {}
    if field(aligned, "pred_relevant_windows", "prediction") and field(annotations, "relevant_windows"):
        figures |= _window_figures(aligned, annotations)
    if field(aligned, "pred_saliency_scores", "prediction") and field(annotations, "saliency_scores"):
        figures |= _saliency_figures(aligned, annotations, clip_length)
    return {name: 100 * values for name, values in figures.items()}


def _window_figures(aligned: Entries, annotations: Entries) -> dict[str, Floats]:
    require_windows(annotations)
    windows, given = pad_rows(aligned, "pred_relevant_windows", 3, limit=MAX_WINDOWS)
    windows[..., 2][~given] = -np.inf
    truth, counted = pad_rows(annotations, "relevant_windows", 2)
    order = np.argsort(-windows[..., 2], axis=1, kind="stable")
    ranked = np.take_along_axis(windows, order[..., None], axis=1)
    iou = temporal_iou(ranked[:, :, None, :2], truth[:, None]) * counted[:, None]
    precision = interpolated_ap(match_windows(iou, np.asarray(IOU_THRESHOLDS)), counted.sum(axis=1))
    first = windows[:, :1, :2]  # as listed: the official recall does not sort
    best = np.where(counted, temporal_iou(first, truth), -1.0).argmax(axis=1)
    overlap = hull_iou(first[:, 0], truth[np.arange(len(truth)), best])
    recall = {f"MR-full-R1@{bound}": (overlap >= bound).astype(np.float64) for bound in RECALL_THRESHOLDS}
    return recall | {"MR-full-mAP": precision.mean(axis=1), "MR-full-mIoU": overlap}


def _saliency_figures(aligned: Entries, annotations: Entries, clip_length: float) -> dict[str, Floats]:
    given, given_mask = pad_numbers(aligned, "pred_saliency_scores")
    if not given_mask.any(axis=1).all():
        empty = annotations[int(np.flatnonzero(~given_mask.any(axis=1))[0])]["qid"]
        raise DataError(f"pred_saliency_scores of qid {empty!r} is empty, expected one a clip")
    labels, mask = clip_labels(annotations, clip_length)
    scores = np.zeros(mask.shape)
    width = min(mask.shape[1], given.shape[1])
    scores[:, :width] = given[:, :width]
    listed = np.where(given_mask, given, -np.inf)
    figures = {}
    for name, level in SALIENCY_LEVELS.items():
        positive = labels >= level  # (annotators, Q, C)
        figures[f"HL-min-{name}-mAP"] = highlight_ap(scores, positive, mask).mean(axis=0)
        figures[f"HL-min-{name}-Hit1"] = hit_at_one(listed, positive).any(axis=0).astype(np.float64)
    return figures


def top_figures(predictions: Entries, annotations: Entries, top: int = TOP) -> Floats:
    """TVSum's top-5 average precision of every video, mean over annotators, (Q,) shares in the annotations' order.

    Raises:
        DataError: videos of the two do not match one to one, or as :func:`~gatefuse_plugins.evaluation.tvsum.top_ap`.
    """
    aligned = align(predictions, annotations)
    pairs = zip(aligned, annotations, strict=True)
    return np.array([top_ap(given["pred_saliency_scores"], entry["label"], top).mean() for given, entry in pairs])
