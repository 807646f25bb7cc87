"""Saliency losses of QD-DETR: margin between clip pairs, ranking contrast, negative video-text pairs.

Source: QD-DETR (Moon et al., CVPR 2023), sections 3.2 and 3.4; ``SetCriterion.loss_saliency`` of ``qd_detr/model.py``.
All take scores (B, L) and ``mask`` (B, L), True = clip exists; what scores hold at padding never matters.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RANKS = 12  # three annotators give at most 4 points each to a clip; thresholds run from 1 to RANKS - 1
TEMPERATURE = 0.5
EPSILON = 1e-6
ABSENT = -1e3  # score of a padded clip: nothing after the exponential, and still finite where all clips are padding


def saliency_margin_loss(scores: Tensor, positive: Tensor, negative: Tensor, mask: Tensor, margin: float) -> Tensor:
    """Hinge: clips ``positive`` (B, P) shall score higher than clips ``negative`` (B, P) by ``margin``.

    A pair with an index below 0 or at padding does not exist and costs nothing. Scalar: twice the mean over B * P.
    """
    exists = (positive >= 0) & (negative >= 0)
    positive, negative = positive.clamp(min=0), negative.clamp(min=0)
    exists &= mask.gather(1, positive) & mask.gather(1, negative)
    scores = scores.masked_fill(~mask, 0.0)
    hinge = (margin + scores.gather(1, negative) - scores.gather(1, positive)).clamp(min=0)
    return 2 * (hinge * exists).sum() / max(hinge.numel(), 1)


def rank_contrastive_loss(scores: Tensor, labels: Tensor, mask: Tensor, negative_scores: Tensor | None) -> Tensor:
    """Contrast clips labelled ``rank`` or more with all clips, mean over ranks 1 to 11 (divided by 12, as upstream).

    The clips of the negative pair (the same video with another text) stand among the others where they are given.

    Only the choice of positives depends on the rank, so one log-softmax serves all ranks, and the sums over positives
    are one matrix product of (B, 11, L) with (B, L).

    Args:
        scores: (B, L).
        labels: (B, L) summed annotator scores, 0 to 12.
        mask: (B, L).
        negative_scores: (B, L), or None where the batch has no negative pair.

    Returns:
        Scalar; 0 where no label reaches 1.
    """
    everything = scores if negative_scores is None else torch.cat([scores, negative_scores], dim=1)
    everywhere = mask if negative_scores is None else mask.repeat(1, 2)
    logits = everything.masked_fill(~everywhere, ABSENT) / TEMPERATURE
    logits = logits - logits.amax(dim=1, keepdim=True)
    log_prob = logits - (logits.exp().sum(dim=1, keepdim=True) + EPSILON).log()

    ranks = torch.arange(1, RANKS, device=labels.device)[:, None]
    positive = ((labels[:, None] >= ranks) & mask[:, None]).to(logits.dtype)  # (B, 11, L)
    own = log_prob[:, : scores.shape[1], None]  # clips of a negative pair have label 0: never positive
    mean_log_prob = (positive @ own).squeeze(-1) / (positive.sum(-1) + EPSILON)
    return -mean_log_prob.mean(dim=0).sum() / RANKS


def negative_pair_loss(negative_scores: Tensor, mask: Tensor) -> Tensor:
    """Scores of a video with another sample's text shall be low: sum of -log(1 - sigmoid) over clips, mean over B.

    Written as softplus, which stays finite where upstream's logarithm of 0 does not (scores above 17).
    """
    return F.softplus(negative_scores.masked_fill(~mask, float("-inf"))).sum(dim=1).mean()
