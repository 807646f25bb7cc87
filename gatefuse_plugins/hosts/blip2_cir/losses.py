"""Contrastive losses of composed retrieval."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def max_token_similarity(queries: Tensor, targets: Tensor) -> Tensor:
    """Largest dot product over the target's tokens: ``queries`` (M, E), ``targets`` (N, Q, E) -> (M, N).

    Source: SPRC, ``Blip2QformerCirAlignPrompt.inference``.
    """
    count, tokens, width = targets.shape
    return (queries @ targets.reshape(count * tokens, width).T).reshape(-1, count, tokens).amax(dim=-1)


def duplicate_mask(own_ids: Tensor, all_ids: Tensor, columns: Tensor) -> Tensor:
    """True where a column shows the query's own target picture again: no negative, though another sample.

    ``own_ids`` (B,), ``all_ids`` (N,), ``columns`` (B,) own column of each row -> (B, N).
    """
    same = own_ids[:, None] == all_ids[None, :]
    same[torch.arange(len(own_ids), device=own_ids.device), columns] = False
    return same


def contrastive_loss(
    logits: Tensor, columns: Tensor, ignore: Tensor | None = None, hard_negative_beta: float = 0.0
) -> Tensor:
    """Mean cross-entropy of the own column against all others.

    Args:
        logits: (B, N), similarity over temperature.
        columns: (B,) the positive's column.
        ignore: (B, N), True = neither positive nor negative.
        hard_negative_beta: 0 is InfoNCE. Above 0, negatives weigh exp(beta * logit) normalised to mean 1 over the row's
            negatives (Robinson et al., ICLR 2021, section 3; weights are constants, without debiasing).
    """
    if ignore is not None:
        logits = logits.masked_fill(ignore, float("-inf"))
    if hard_negative_beta:
        positive = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, columns[:, None], True)
        scores = (hard_negative_beta * logits.detach()).masked_fill(positive, float("-inf"))
        negatives = torch.isfinite(scores).sum(dim=1, keepdim=True).clamp_min(1)
        log_weight = scores - scores.logsumexp(dim=1, keepdim=True) + negatives.log()
        log_weight = log_weight.masked_fill(~torch.isfinite(log_weight), 0.0)  # positives, ignored, no negative at all
        logits = logits + log_weight
    return F.cross_entropy(logits, columns)
