"""Contrastive loss with adaptive margin (AVIGATE, section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def adaptive_margin(texts: Tensor, videos: Tensor, beta: float, bound: float) -> Tensor:
    """Margin that dissimilar negatives get: ``min(beta * (1 - (tt + vv) / 2), bound)``, 0 on the diagonal, no gradient.

    Args:
        texts: (B, D) unit vectors.
        videos: (B, D) unit vectors before the fusion.
        beta: paper's lambda.
        bound: paper's delta.

    Returns:
        (B, B), to be added to negatives' similarities times the logit scale.
    """
    with torch.no_grad():
        likeness = (texts @ texts.T + videos @ videos.T) / 2
        return ((1 - likeness) * beta).clamp(max=bound).fill_diagonal_(0)


def symmetric_contrastive_loss(logits: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Mean of both directions' cross-entropies; pair i is on the diagonal of ``logits`` (B, B).

    ``ignore`` (B, B) True = neither positive nor negative (another caption of the same video).
    """
    if ignore is not None:
        logits = logits.masked_fill(ignore, float("-inf"))
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def same_video(video_id: Tensor) -> Tensor:
    """(B,) ids -> (B, B) True where two different samples show one video."""
    same = video_id[:, None] == video_id[None, :]
    return same.fill_diagonal_(False)
