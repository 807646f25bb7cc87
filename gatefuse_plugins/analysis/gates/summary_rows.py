"""Rows of many samples, one sample after the other, reduced sample by sample without a loop."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_SLIVER = 1e-9  # of a position: what rounding leaves of a stretch that holds none
_HALF_MAX = float(np.finfo(np.float16).max)


def combine_rows(states: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """States (B, 7) of samples from those of their rows (rows, 7), sample b's from ``starts[b]`` on, at least one.

    See :mod:`gatefuse_plugins.recording.running_moments` for the states and the way they are combined.
    """
    count, mean, m2, low, high, near_low, near_high = states.T
    total = np.add.reduceat(count, starts)
    centre = np.add.reduceat(count * mean, starts) / np.maximum(total, 1)
    lengths = np.diff(np.append(starts, len(states)))
    spread = m2 + count * (mean - np.repeat(centre, lengths)) ** 2
    ends = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    spread, near_low, near_high = (np.add.reduceat(part, starts) for part in (spread, near_low, near_high))
    return np.stack([total, centre, spread, *ends, near_low, near_high], axis=1)


def mean_over_bins(values: NDArray[np.float64], starts: NDArray[np.int64], bins: int) -> NDArray[np.float64]:
    """Mean of each sample over ``bins`` equal stretches of its length, a value holding over its own position.

    Args:
        values: (rows,) of all samples, one after the other; NaN is left out.
        starts: (B + 1,) where each sample begins, and the end of the last.

    Returns:
        (B, bins); NaN for a stretch without values.
    """
    edges = starts[:-1, None] + np.diff(starts)[:, None] * (np.arange(bins + 1) / bins)
    whole = np.minimum(edges.astype(np.int64), len(values) - 1)
    valid = np.isfinite(values)
    total, held = (
        np.diff(np.concatenate([[0.0], np.cumsum(part)])[whole] + (edges - whole) * part[whole], axis=1)
        for part in (np.where(valid, values, 0.0), valid.astype(np.float64))
    )
    return np.divide(total, held, out=np.full(total.shape, np.nan), where=held > _SLIVER)


def as_half(wide: torch.Tensor) -> torch.Tensor:
    """float16; what does not fit is brought to its largest number, NaN and infinities stay."""
    return torch.where(wide.isinf(), wide, wide.clamp(-_HALF_MAX, _HALF_MAX)).half()
