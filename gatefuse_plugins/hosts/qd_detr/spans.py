"""Temporal spans: (center, width) and (start, end) forms, IoU and generalised IoU in one dimension.

Source: QD-DETR ``qd_detr/span_utils.py``; generalised IoU from Rezatofighi et al., CVPR 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor


def span_cxw_to_xx(spans: Tensor) -> Tensor:
    """(..., 2) rows of (center, width) -> (..., 2) rows of (start, end), in the same unit."""
    center, width = spans.unbind(-1)
    return torch.stack([center - 0.5 * width, center + 0.5 * width], dim=-1)


def temporal_iou(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and union, of spans (..., 2) as (start, end); leading dimensions broadcast.

    All pairs of (N, 2) and (M, 2): ``temporal_iou(first[:, None], second)`` gives (N, M). Two spans of zero length have
    IoU 0, with finite gradients.
    """
    union, intersection, _ = _measures(first, second)
    return intersection / _nonzero(union), union


def generalized_temporal_iou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU in [-1, 1] of spans (..., 2) as (start, end); leading dimensions broadcast.

    The part of the hull that neither span covers is subtracted from the IoU, so spans apart have a gradient too.
    Computed in float32 at least: differences of near-equal times vanish in half precision.
    """
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), torch.float32)
    union, intersection, hull = _measures(first.to(dtype), second.to(dtype))
    return intersection / _nonzero(union) - (hull - union) / _nonzero(hull)


def _measures(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lengths of union, intersection and hull."""
    (start1, end1), (start2, end2) = first.unbind(-1), second.unbind(-1)
    intersection = (torch.minimum(end1, end2) - torch.maximum(start1, start2)).clamp(min=0)
    hull = (torch.maximum(end1, end2) - torch.minimum(start1, start2)).clamp(min=0)
    return (end1 - start1) + (end2 - start2) - intersection, intersection, hull


def _nonzero(length: Tensor) -> Tensor:
    """Denominator for a numerator that is 0 wherever ``length`` is."""
    return torch.where(length == 0, torch.ones_like(length), length)
