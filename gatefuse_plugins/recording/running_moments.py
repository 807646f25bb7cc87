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
FIELDS = ("count", "mean", "m2", "minimum", "maximum", "near_low", "near_high")
_EMPTY = (0.0, 0.0, 0.0, math.inf, -math.inf, 0.0, 0.0)


class RunningMoments:
    """Count, mean, second central moment, minimum, maximum, and how many values lie near each end of a range.

    Args:
        low, high: ends of the range; ``None`` or infinite for an open end, near which nothing counts as saturated.
    """

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        self.edges: tuple[float, float] | None = None
        if low is not None and high is not None and math.isfinite(high - low):
            margin = SATURATION_MARGIN * (high - low)
            self.edges = low + margin, high - margin
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
        if values.numel():
            self.merge(sample_states(values, mask, self.edges))

    def merge(self, states: Tensor) -> None:
        """Merge in states (n, 7) of disjoint parts of the stream, such as :func:`sample_states` gives."""
        if self._state is not None:
            states = torch.cat([self._state[None], states.to(self._state.device)])
        self._state = combine(states)


def combine(states: Tensor) -> Tensor:
    """One state (7,) for the union of disjoint parts (n, 7), n at least 1."""
    count, mean, m2, minimum, maximum, near_low, near_high = states.unbind(dim=1)
    total = count.sum()
    centre = (count * mean).sum() / total.clamp(min=1)
    spread = m2.sum() + (count * (mean - centre).square()).sum()
    return torch.stack([total, centre, spread, minimum.amin(), maximum.amax(), near_low.sum(), near_high.sum()])


@torch.no_grad()
def sample_states(values: Tensor, mask: Tensor | None = None, edges: tuple[float, float] | None = None) -> Tensor:
    """State of every sample: values (B, ...) -> (B, 7) in the order of ``FIELDS``, valid positions only.

    Element-wise work stays in the values' precision (float32 at least) and runs along rows; rows are summed in float64
    (float32 on Metal, which has no other). Centring before squaring keeps the variance of nearly equal values exact.

    Args:
        mask: see :func:`align_mask`.
        edges: values up to the first and from the second count as near an end of the range.

    Raises:
        GatefuseError: the mask cannot be laid over the values.
    """
    grid, valid = as_rows(values.detach(), mask)
    wide = wide_dtype(grid)
    if not grid[0].numel():
        return torch.tensor(_EMPTY, dtype=wide, device=grid.device).expand(len(grid), -1).clone()

    def total(rows: Tensor) -> Tensor:  # `where`, never boolean indexing: the host would wait for the index's length
        return (rows if valid is None else rows.where(valid, 0)).sum(dim=1, dtype=wide)

    rows = torch.full((len(grid),), grid.shape[1], device=grid.device) if valid is None else valid.sum(dim=1)
    count = (rows * grid.shape[2]).to(wide)
    divisor = count.clamp(min=1)
    centre = (total(grid.sum(dim=-1)) / divisor).to(grid.dtype)
    centred = grid - centre[:, None, None]
    residual = total(centred.sum(dim=-1))  # what rounding the centre to the values' own precision left over
    m2 = total(torch.linalg.vector_norm(centred, dim=-1).to(wide).square()) - residual.square() / divisor
    low, high = grid.amin(dim=-1), grid.amax(dim=-1)
    if valid is not None:
        low, high = low.where(valid, math.inf), high.where(valid, -math.inf)
    near = [torch.zeros_like(count)] * 2
    if edges is not None:
        near = [total((grid <= edges[0]).sum(dim=-1)), total((grid >= edges[1]).sum(dim=-1))]
    mean = centre.to(wide) + residual / divisor
    return torch.stack([count, mean, m2.clamp(min=0), low.amin(1).to(wide), high.amax(1).to(wide), *near], dim=1)


def wide_dtype(values: Tensor) -> torch.dtype:
    """What to sum ``values`` in: float64, or float32 on Metal, which has no other."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def as_rows(values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """``values`` as (B, rows, width) of float32 or float64, and which rows are valid, (B, rows), ``None`` for all.

    Raises:
        GatefuseError: the mask cannot be laid over the values.
    """
    values = values if values.dtype == torch.float64 else values.float()
    values = values.reshape(1) if values.dim() == 0 else values
    size = len(values)
    if mask is None:
        return values.reshape(size, values.shape[1] if values.dim() > 2 else 1, _width(values)), None
    aligned = align_mask(mask, values)
    if aligned.dim() == 1 or aligned[0, 0].numel() > 1:
        grid = values.reshape(size, -1, 1) if values.numel() else values.reshape(size, 0, 1)
        return grid, aligned.expand_as(values).reshape(size, -1)
    rows = values.shape[1]
    grid = values.reshape(size, rows, values[0, 0].numel() if rows and size else 1)
    return grid, aligned.reshape(aligned.shape[:2]).expand(size, rows)


def _width(values: Tensor) -> int:
    parts = values.shape[2:] if values.dim() > 2 else values.shape[1:]
    return math.prod(parts)


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
