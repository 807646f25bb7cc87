"""Figures of single queries, whose mean over queries is the official figure: what intervals and correlations need.

Definitions follow the QVHighlights evaluation (Lei et al., NeurIPS 2021, ``standalone_eval``); see
:mod:`~gatefuse_plugins.evaluation.moment_retrieval` and :mod:`~gatefuse_plugins.evaluation.highlights`.
"""

from __future__ import annotations

import numpy as np

from gatefuse_plugins.evaluation.highlights import SALIENCY_LEVELS, query_highlights
from gatefuse_plugins.evaluation.moment_labels import align, field
from gatefuse_plugins.evaluation.moment_retrieval import first_iou, listed_windows, ranked_iou
from gatefuse_plugins.evaluation.moments import IOU_THRESHOLDS, Entries, Floats, interpolated_ap, match_windows
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
    windows, truth, counted = listed_windows(aligned, annotations)
    hits = match_windows(ranked_iou(windows, truth) * counted[:, None], np.asarray(IOU_THRESHOLDS))
    precision = interpolated_ap(hits, counted.sum(axis=1))
    overlap = first_iou(windows, truth, counted)
    recall = {f"MR-full-R1@{bound}": (overlap >= bound).astype(np.float64) for bound in RECALL_THRESHOLDS}
    return recall | {"MR-full-mAP": precision.mean(axis=1), "MR-full-mIoU": overlap}


def _saliency_figures(aligned: Entries, annotations: Entries, clip_length: float) -> dict[str, Floats]:
    precision, hits = query_highlights(aligned, annotations, clip_length)
    figures: dict[str, Floats] = {}
    for place, name in enumerate(SALIENCY_LEVELS):
        figures[f"HL-min-{name}-mAP"] = precision[place]
        figures[f"HL-min-{name}-Hit1"] = hits[place].astype(np.float64)
    return figures


def top_figures(predictions: Entries, annotations: Entries, top: int = TOP) -> Floats:
    """TVSum's top-5 average precision of every video, mean over annotators, (Q,) shares in the annotations' order.

    Raises:
        DataError: videos of the two do not match one to one, or as :func:`~gatefuse_plugins.evaluation.tvsum.top_ap`.
    """
    aligned = align(predictions, annotations)
    pairs = zip(aligned, annotations, strict=True)
    return np.array([top_ap(given["pred_saliency_scores"], entry["label"], top).mean() for given, entry in pairs])
