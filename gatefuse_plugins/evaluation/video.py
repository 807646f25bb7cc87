"""Text-video retrieval metrics on MSR-VTT 1k-A (Yu et al., ECCV 2018), as AVIGATE reports them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.recall import Indices, Scores, check_indices, recall_at, reject_nan, target_ranks

MSRVTT_KS = (1, 5, 10)


def msrvtt_metrics(similarity: Scores) -> dict[str, dict[str, float]]:
    """Recall and rank in both directions for paired texts and videos.

    Args:
        similarity: (N, N) scores, row i the text and column i the video of pair i.

    Returns:
        ``text_to_video`` and ``video_to_text``, each with percentages ``R1 R5 R10`` and the ranks ``MedianR MeanR``
        (1 is best; ties count against the pair).

    Raises:
        DataError: the similarity is not square, or holds NaN.
    """
    similarity = np.asarray(similarity)
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise DataError(
            f"similarity has shape {similarity.shape}, expected (N, N): one text a video, pair i on the diagonal"
        )
    own = np.arange(len(similarity))
    return {
        "text_to_video": rank_metrics(target_ranks(similarity, own)),
        "video_to_text": rank_metrics(target_ranks(similarity.T, own)),
    }


def video_to_text_ranks(similarity: Scores, target: Indices) -> NDArray[np.int64]:
    """Rank of every video's best own text, 1 for the best; its other texts do not compete.

    Args:
        similarity: (T, V) scores.
        target: (T,) column of each text's video; every video has at least one text.

    Returns:
        (V,) ranks. A text of another video that ties stands before it.

    Raises:
        DataError: shapes or indices do not fit, a video has no text, or a score is NaN.
    """
    similarity = np.asarray(similarity)
    if similarity.ndim != 2 or similarity.size == 0:
        raise DataError(f"similarity has shape {similarity.shape}, expected (texts, videos), neither of them 0")
    texts, videos = similarity.shape
    target = check_indices("target", target, (texts,), videos)
    reject_nan(similarity, 0)
    if lacking := np.flatnonzero(np.bincount(target, minlength=videos) == 0).tolist():
        raise DataError(f"{len(lacking)} of {videos} videos have no text (first: {lacking[:5]}); no rank exists")
    best = np.full(videos, -np.inf, similarity.dtype)
    np.maximum.at(best, target, similarity[np.arange(texts), target])
    ahead = similarity >= best
    ahead[np.arange(texts), target] = False
    return 1 + ahead.sum(axis=0, dtype=np.int64)


def rank_metrics(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Percentages ``R1 R5 R10`` and the ranks ``MedianR MeanR``."""
    recalls = {f"R{k}": value for k, value in zip(MSRVTT_KS, recall_at(ranks, MSRVTT_KS), strict=True)}
    return recalls | {"MedianR": float(np.median(ranks)), "MeanR": float(ranks.mean())}


def video_summary(text_to_video: NDArray[np.int64], video_to_text: NDArray[np.int64]) -> dict[str, float]:
    """Flat figures from both directions' ranks.

    ``t2v_R@1 t2v_R@5 t2v_R@10 t2v_MedianR t2v_MeanR``, likewise ``v2t_``, and ``mean`` of the six recalls.
    """
    found, recalls = {}, []
    for direction, ranks in (("t2v", text_to_video), ("v2t", video_to_text)):
        for name, value in rank_metrics(ranks).items():
            is_recall = name.removeprefix("R").isdigit()
            found[f"{direction}_{name.replace('R', 'R@') if is_recall else name}"] = value
            recalls += [value] if is_recall else []
    return found | {"mean": float(np.mean(recalls))}
