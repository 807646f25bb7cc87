"""Text-video retrieval metrics on MSR-VTT 1k-A (Yu et al., ECCV 2018), as AVIGATE reports them."""

from __future__ import annotations

import numpy as np

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.recall import Scores, recall_at, target_ranks

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
    return {"text_to_video": _one_direction(similarity), "video_to_text": _one_direction(similarity.T)}


def _one_direction(similarity: Scores) -> dict[str, float]:
    ranks = target_ranks(similarity, np.arange(len(similarity)))
    recalls = {f"R{k}": value for k, value in zip(MSRVTT_KS, recall_at(ranks, MSRVTT_KS), strict=True)}
    return recalls | {"MedianR": float(np.median(ranks)), "MeanR": float(ranks.mean())}
