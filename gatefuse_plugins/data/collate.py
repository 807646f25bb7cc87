"""Datasets that give whole batches, and the collate function that leaves them as they are.

mmengine's runner looks ``collate_fn=dict(type='gatefuse.identity_collate')`` up in its FUNCTIONS registry, of which
ours is the child of scope ``gatefuse``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import Dataset

from gatefuse_plugins.registry import FUNCTIONS

Batch = TypeVar("Batch")


@FUNCTIONS.register_module()
def identity_collate(batch: Batch) -> Batch:
    """Return ``batch``: the dataset's ``__getitems__`` has collated it already."""
    return batch


class BatchedDataset(Dataset[dict[str, Any]], ABC):
    """Items that come as whole batches.

    Attributes:
        subject: name and split, for messages.
    """

    subject: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """One collated batch."""

    def __getitem__(self, index: int | Sequence[int]) -> dict[str, Any]:
        """The batch of one index, or of several."""
        return self.__getitems__([index] if isinstance(index, (int, np.integer)) else index)

    def rows_of(self, indices: Sequence[int]) -> np.ndarray:
        """``indices`` as (n,) int64.

        Raises:
            IndexError: there are none, or one lies outside the data set.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"{self.subject}: indices must be 0..{len(self) - 1} and at least one, got {indices}")
        return rows
