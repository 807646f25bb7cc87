"""Ranking of clips by saliency: average precision with tied scores and the hit of the best clip, all queries at once.

Definitions follow the QVHighlights evaluation (Lei et al., NeurIPS 2021, ``standalone_eval``), which follows
video2gif's: interpolated precision, averaged over the score thresholds that add a positive clip.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.moment_labels import align, clip_count, clip_labels, percent
from gatefuse_plugins.evaluation.moments import Entries, Floats, Mask, pad_numbers

SALIENCY_LEVELS = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""Lowest annotator's score of a positive clip."""


def highlight_metrics(
    predictions: Entries, annotations: Entries, clip_length: float = 2.0
) -> dict[str, dict[str, float]]:
    """``{"HL-min-Fair": {"HL-mAP": ..., "HL-Hit1": ...}, ...}``; arguments as :func:`qvhighlights_metrics`.

    mAP is the mean over queries and annotators; a clip without predicted score counts 0, scores past the last clip are
    cut. Hit1 takes the highest of the annotators' judgements on the best clip.
    """
    precision, hits = (
        found.mean(axis=1) for found in query_highlights(align(predictions, annotations), annotations, clip_length)
    )
    return {
        f"HL-min-{name}": {"HL-mAP": percent(precision[place]), "HL-Hit1": percent(hits[place])}
        for place, name in enumerate(SALIENCY_LEVELS)
    }


def query_highlights(aligned: Entries, annotations: Entries, clip_length: float) -> tuple[Floats, Mask]:
    """(levels, Q) average precision of every query and whether its best clip is a hit, in the annotations' order.

    Args:
        aligned: predictions in the order of ``annotations``.

    Raises:
        DataError: a query has no predicted score.
    """
    if empty := [entry["qid"] for entry in aligned if not len(entry["pred_saliency_scores"])]:
        raise DataError(f"pred_saliency_scores of qid {empty[0]} is empty ({len(empty)} such), expected one a clip")
    # Queries of similar length together: one video of 10,000 clips does not pad all others to its length.
    groups: dict[int, list[int]] = defaultdict(list)
    for place, (prediction, entry) in enumerate(zip(aligned, annotations, strict=True)):
        length = max(clip_count(entry["duration"], clip_length), len(prediction["pred_saliency_scores"]))
        groups[length.bit_length()].append(place)
    precision, hits = (
        np.empty((len(SALIENCY_LEVELS), len(aligned))),
        np.empty((len(SALIENCY_LEVELS), len(aligned)), bool),
    )
    for places in groups.values():
        precision[:, places], hits[:, places] = _score_queries(
            [aligned[place] for place in places], [annotations[place] for place in places], clip_length
        )
    return precision, hits


def _score_queries(predictions: Entries, annotations: Entries, clip_length: float) -> tuple[Floats, Mask]:
    """(levels, Q) average precision, mean over annotators, and whether any annotator finds the best clip positive."""
    given, given_mask = pad_numbers(predictions, "pred_saliency_scores")
    labels, mask = clip_labels(annotations, clip_length)
    scores = np.zeros(mask.shape)
    width = min(mask.shape[1], given.shape[1])
    scores[:, :width] = given[:, :width]
    binary = np.stack([labels >= level for level in SALIENCY_LEVELS.values()])
    levels, annotators, queries, clips = binary.shape
    flat = binary.reshape(-1, queries, clips)
    precision = highlight_ap(scores, flat, mask).reshape(levels, annotators, queries)
    hits = hit_at_one(np.where(given_mask, given, -np.inf), flat).reshape(levels, annotators, queries)
    return precision.mean(axis=1), hits.any(axis=1)


def highlight_ap(scores: Floats, labels: Mask, mask: Mask) -> Floats:
    """Average precision of each query under each labelling.

    Args:
        scores: (Q, C) finite; equal scores form one threshold.
        labels: (K, Q, C) positive clips, none of them at padding.
        mask: (Q, C) clips that count.

    Returns:
        (K, Q) in 0..1; 0 where a query has no positive clip.
    """
    scores = np.where(mask, scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    last = np.ones(ranked.shape, bool)  # last clip of its threshold
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=last[:, :-1])
    hits = np.take_along_axis(labels, order[None], axis=2).cumsum(axis=2, dtype=np.int32)
    hits *= last
    precision = hits / np.arange(1, ranked.shape[1] + 1)
    highest = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    np.maximum.accumulate(hits, axis=2, out=hits)
    adds = np.empty(hits.shape, bool)
    adds[..., 0] = hits[..., 0] > 0
    np.not_equal(hits[..., 1:], hits[..., :-1], out=adds[..., 1:])
    return np.einsum("kqc,kqc->kq", highest, adds) / np.maximum(adds.sum(axis=2), 1)


def hit_at_one(scores: Floats, labels: Mask) -> Mask:
    """(K, Q) whether the best-scored clip, of equal ones the first, is positive.

    Args:
        scores: (Q, W) with -inf at padding; clips past the last labelled one may win and are no hit.
        labels: (K, Q, C).
    """
    best = scores.argmax(axis=1)
    inside = best < labels.shape[2]
    return labels[:, np.arange(len(best)), np.where(inside, best, 0)] & inside
