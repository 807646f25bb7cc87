"""TVSum highlight detection: top-5 mean average precision (Song et al., CVPR 2015; protocol of UMT, CVPR 2022).

Follows QD-DETR's ``compute_hl_results``, which takes it from UMT's ``datasets/tvsum.py``. Figures are shares in 0..1,
as upstream prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.evaluation.moment_labels import align, field

DOMAINS = ("BK", "BT", "DS", "FM", "GA", "MS", "PK", "PR", "VT", "VU")
TOP = 5


def tvsum_metrics(
    predictions: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]], top: int = TOP
) -> dict[str, float]:
    """Top-5 mAP of each domain, ``BK_mAP`` and so on, and their average ``mAP``.

    Args:
        predictions: one a video: ``qid``, ``pred_saliency_scores`` (one a clip; scores past the labels are cut).
        annotations: ``qid``, ``domain``, ``label`` (clips, annotators) with scores 1..5.
        top: clips that count.

    Raises:
        DataError: videos of the two do not match one to one, labels are missing, a domain is unknown, or a clip has no
            finite score.
    """
    aligned = align(predictions, annotations)
    if not field(annotations, "label"):
        raise DataError("the annotations hold no 'label' (clips, annotators), so no metric exists; is this TVSum?")
    domains: dict[str, list[float]] = {}
    for prediction, annotation in zip(aligned, annotations, strict=True):
        if (domain := annotation.get("domain")) not in DOMAINS:
            raise DataError(f"qid {annotation['qid']!r}: unknown domain {domain!r}{suggestion(str(domain), DOMAINS)}")
        try:
            precision = top_ap(prediction["pred_saliency_scores"], annotation["label"], top)
        except DataError as error:
            raise DataError(f"qid {annotation['qid']!r}: {error}") from error
        domains.setdefault(domain, []).append(float(precision.mean()))
    metrics = {f"{domain}_mAP": float(np.mean(domains[domain])) for domain in DOMAINS if domain in domains}
    return metrics | {"mAP": float(np.mean(list(metrics.values())))}


def top_ap(scores: ArrayLike, label: ArrayLike, top: int = TOP) -> NDArray[np.float64]:
    """Average precision within the ``top`` best-scored clips of one video, for each annotator.

    Args:
        scores: (C',) with C' >= C; equal scores stay in the order of the clips.
        label: (C, S) annotators' scores; positive are those above the annotator's lower median.

    Returns:
        (S,) area under the precision-recall curve (trapezoids), recall counted within the top; 0 without positives.

    Raises:
        DataError: label is not two-dimensional, a clip has no score, or a score is not finite.
    """
    try:
        labels, values = np.asarray(label, np.float64), np.asarray(scores, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"label or pred_saliency_scores hold what is no number ({error})") from error
    if labels.ndim != 2 or labels.size == 0 or values.ndim != 1 or values.size < len(labels):
        raise DataError(
            f"pred_saliency_scores of shape {values.shape} for label of shape {labels.shape}; expected (clips,) with "
            "a score for every clip, and (clips, annotators)"
        )
    values = values[: len(labels)]
    if not np.isfinite(values).all():
        raise DataError("pred_saliency_scores hold NaN or infinity; expected finite numbers")
    median = np.sort(labels, axis=0)[(len(labels) - 1) // 2]
    best = np.argsort(-values, kind="stable")[:top]
    hits = (labels[best] > median).cumsum(axis=0)
    recall = hits / np.maximum(hits[-1], 1)
    precision = hits / np.arange(1, len(best) + 1)[:, None]
    before = np.vstack([np.ones(labels.shape[1]), precision[:-1]])
    return (np.diff(recall, axis=0, prepend=0.0) * (before + precision) / 2).sum(axis=0)
