"""The vectors of a gallery: several an item, without padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatefuse_plugins.errors import DataError


@dataclass(frozen=True)
class GalleryVectors:
    """Vectors of V items, item after item. Arrays may be memory-mapped; only what is asked for is read.

    Attributes:
        vectors: (R, D) float16 or float32; frames of a video, query tokens of a picture.
        offsets: (V + 1,) int64; item v owns the rows ``offsets[v]`` to ``offsets[v + 1]``, at least one.
        pooled: (V, D), one vector an item, where the similarity has a global part.
    """

    vectors: NDArray[np.floating]
    offsets: NDArray[np.int64]
    pooled: NDArray[np.floating] | None = None

    @classmethod
    def from_padded(cls, vectors: Tensor, mask: Tensor, pooled: Tensor | None = None) -> GalleryVectors:
        """From ``vectors`` (V, F, D) whose rows are valid where ``mask`` (V, F) is True."""
        offsets = np.zeros(len(mask) + 1, np.int64)
        np.cumsum(mask.sum(dim=1).cpu().numpy(), out=offsets[1:])
        return cls(vectors[mask].cpu().numpy(), offsets, None if pooled is None else pooled.cpu().numpy())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def dim(self) -> int:
        """D."""
        return int(self.vectors.shape[1])

    @property
    def longest(self) -> int:
        """Vectors of the item that has most."""
        return int(np.diff(self.offsets).max())

    def astype(self, dtype: str) -> GalleryVectors:
        """The same in ``float16`` or ``float32``.

        Raises:
            DataError: a vector is NaN or infinite; names the first such items.
        """
        for name, array in (("vectors", self.vectors), ("pooled", self.pooled)):
            if array is None:
                continue
            broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
            rows = broken if name == "pooled" else np.unique(np.searchsorted(self.offsets, broken, "right") - 1)
            if len(rows):
                listed = ", ".join(map(str, rows[:5].tolist())) + (" and more" if len(rows) > 5 else "")
                raise DataError(f"{name} of gallery items {listed} hold NaN or infinity; nothing can be ranked by them")
        pooled = None if self.pooled is None else self.pooled.astype(dtype)
        return GalleryVectors(self.vectors.astype(dtype), self.offsets, pooled)

    def padded(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Vectors (n, F, D), 0 at padding, their mask (n, F) and ``pooled`` (n, D) of items ``rows``, all float32.

        They may share memory with the index: not to be written to.
        """
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]
        flat = self._of(rows, mask)
        if mask.all():
            filled = flat.reshape(*mask.shape, self.dim)
        else:
            filled = np.zeros((*mask.shape, self.dim), np.float32)
            filled[mask] = flat
        pooled = None if self.pooled is None else torch.from_numpy(self.pooled[rows].astype(np.float32))
        return torch.from_numpy(filled), torch.from_numpy(mask), pooled

    def _of(self, rows: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """All vectors of items ``rows``, one after the other; not copied where they are neighbours in float32."""
        if (np.diff(rows) == 1).all():
            found = self.vectors[self.offsets[rows[0]] : self.offsets[rows[-1] + 1]]
        else:
            found = self.vectors[(self.offsets[rows][:, None] + np.arange(mask.shape[1]))[mask]]
        return found.astype(np.float32, copy=False)
