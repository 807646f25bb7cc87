"""Contrastive losses of composed retrieval, with negatives gathered across ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def max_token_similarity(queries: Tensor, targets: Tensor) -> Tensor:
    """Largest dot product over the target's tokens: ``queries`` (M, E), ``targets`` (N, Q, E) -> (M, N).

    Source: SPRC, ``Blip2QformerCirAlignPrompt.inference``.
    """
    count, tokens, width = targets.shape
    return (queries @ targets.reshape(count * tokens, width).T).reshape(-1, count, tokens).amax(dim=-1)


def gather_with_grad(tensor: Tensor) -> Tensor:
    """Concatenate over ranks along dimension 0; gradients flow back to every rank. Equal sizes are required.

    Each rank's loss is a mean over its own queries against all targets, so DDP's mean over ranks equals one process
    with the joined batch, in value and in gradient.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    if not tensor.requires_grad:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)
    import torch.distributed.nn.functional as dist_fn

    return torch.cat(dist_fn.all_gather(tensor.contiguous()))


def own_columns(count: int, device: torch.device) -> Tensor:
    """Columns of the gathered targets that belong to this rank's ``count`` queries."""
    rank = dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    return torch.arange(count, device=device) + rank * count


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
