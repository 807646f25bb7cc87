"""Running moments of a stream of tensors, kept on the tensors' own device.

Batches are merged by the pairwise update of Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
computing sample variances" (1979): exact up to rounding, however the values were split into batches.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gatefuse_plugins.errors import GatefuseError

# Share of a gate's range, measured from either end, within which a value counts as saturated.
SATURATION_MARGIN = 0.02


class Moments:
    """Count, mean, second central moment, minimum, maximum, and how many values lie near each end of a range.

    Args:
        low, high: ends of the range; ``None`` or infinite for an open end, near which nothing counts as saturated.
    """

    FIELDS = ("count", "mean", "m2", "minimum", "maximum", "near_low", "near_high")

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        self._bounded = False
        if low is not None and high is not None and math.isfinite(high - low):
            margin = SATURATION_MARGIN * (high - low)
            self._bounded, self._low_edge, self._high_edge = True, low + margin, high - margin
        self._state: Tensor | None = None

    @property
    def state(self) -> Tensor | None:
        """(7,) tensor in the order of ``FIELDS``, on the device of the first values; ``None`` before any value."""
        return self._state

    @torch.no_grad()
    def update(self, values: Tensor, mask: Tensor | None = None) -> None:
        """Merge in ``values`` (any shape) where ``mask`` (see :func:`align_mask`) is True. Never waits for the device.

        Raises:
            GatefuseError: the mask cannot be laid over the values.
        """
        if values.numel() == 0:
            return
        batch = self._reduce(values.detach(), None if mask is None else align_mask(mask, values))
        self._state = batch if self._state is None else _merge(self._state, batch.to(self._state.device))

    def _reduce(self, values: Tensor, mask: Tensor | None) -> Tensor:
        # Metal has no float64; everywhere else sums run in it, while the element-wise work stays in float32.
        wide = torch.float32 if values.device.type == "mps" else torch.float64
        values = values if values.dtype == torch.float64 else values.float()
        valid = torch.ones_like(values, dtype=torch.bool) if mask is None else mask.expand(values.shape)
        count = valid.sum().to(wide)
        divisor = count.clamp(min=1)
        # `where`, never boolean indexing: an index of unknown length would make the host wait for the device.
        mean = values.where(valid, 0).sum(dtype=wide) / divisor
        centred = (values - mean.to(values.dtype)).where(valid, 0)
        residual = centred.sum(dtype=wide)  # what rounding the mean to the values' own precision left over
        m2 = (centred * centred).sum(dtype=wide) - residual * residual / divisor
        minimum = values.where(valid, math.inf).amin().to(wide)
        maximum = values.where(valid, -math.inf).amax().to(wide)
        if self._bounded:
            near_low = (valid & (values <= self._low_edge)).sum().to(wide)
            near_high = (valid & (values >= self._high_edge)).sum().to(wide)
        else:
            near_low = near_high = torch.zeros_like(count)
        return torch.stack([count, mean, m2.clamp(min=0), minimum, maximum, near_low, near_high])


def _merge(first: Tensor, second: Tensor) -> Tensor:
    count_a, mean_a, m2_a, min_a, max_a, low_a, high_a = first.unbind()
    count_b, mean_b, m2_b, min_b, max_b, low_b, high_b = second.unbind()
    count = count_a + count_b
    share = count_b / count.clamp(min=1)
    delta = mean_b - mean_a
    return torch.stack(
        [
            count,
            mean_a + delta * share,
            m2_a + m2_b + delta * delta * count_a * share,
            torch.minimum(min_a, min_b),
            torch.maximum(max_a, max_b),
            low_a + low_b,
            high_a + high_b,
        ]
    )


def align_mask(mask: Tensor, values: Tensor) -> Tensor:
    """``mask`` reshaped to broadcast over ``values``.

    A mask (B, L) lies over values (B, L, D). Where values have size 1 along a masked dimension (a global gate
    (B, 1, 1)) they count if any position of the sample is valid; the same holds for a headwise gate (B, H, 1, 1),
    whose second dimension counts heads and not positions.

    Raises:
        GatefuseError: the shapes do not fit.
    """
    mask = mask.detach().bool()
    if values.dim() == 4 and mask.dim() == 2 and values.shape[2:] == (1, 1):
        mask = mask.any(dim=1, keepdim=True)
    aligned = mask.reshape(mask.shape + (1,) * (values.dim() - mask.dim()))
    for axis, (size, masked) in enumerate(zip(values.shape, aligned.shape, strict=False)):
        if size == 1 and masked > 1:
            aligned = aligned.any(dim=axis, keepdim=True)
    fits = aligned.dim() == values.dim() and all(
        masked in (1, size) for size, masked in zip(values.shape, aligned.shape, strict=True)
    )
    if not fits:
        raise GatefuseError(
            f"mask {tuple(mask.shape)} does not lie over values {tuple(values.shape)}; expected a boolean (B, L) whose"
            " B and L are the first dimensions of the values"
        )
    return aligned
