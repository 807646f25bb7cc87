"""Greedy temporal non-maximum suppression, vectorised over samples.

Source: QD-DETR ``utils/temporal_nms.py``, after BSN (Lin et al., ECCV 2018).
"""

from __future__ import annotations

import numpy as np


def overlap_over_hull(windows: np.ndarray) -> np.ndarray:
    """Overlap of all pairs of windows (..., n, 2) [start, end] over the length of their hull -> (..., n, n).

    The hull equals the union wherever two windows touch, and windows apart overlap by 0, so this is their IoU. Two
    windows of zero length overlap by 0.
    """
    start, end = windows[..., 0], windows[..., 1]
    shared = np.minimum(end[..., :, None], end[..., None, :]) - np.maximum(start[..., :, None], start[..., None, :])
    hull = np.maximum(end[..., :, None], end[..., None, :]) - np.minimum(start[..., :, None], start[..., None, :])
    return np.clip(shared, 0, None) / np.where(hull == 0, 1, hull)


def temporal_nms(windows: np.ndarray, threshold: float, valid: np.ndarray | None = None) -> np.ndarray:
    """Which windows survive: one is dropped where a better survivor overlaps it by more than ``threshold``.

    Args:
        windows: (..., n, 2) [start, end], best first.
        threshold: IoU in [0, 1].
        valid: (..., n) bool; a window that is not valid neither survives nor suppresses. None: all are.

    Returns:
        (..., n) bool.
    """
    rivals = overlap_over_hull(windows) > threshold
    keep = np.ones(windows.shape[:-1], dtype=bool) if valid is None else valid.copy()
    for rank in range(windows.shape[-2] - 1):  # greedy: whether a window suppresses depends on those before it
        keep[..., rank + 1 :] &= ~(keep[..., rank, None] & rivals[..., rank, rank + 1 :])
    return keep
