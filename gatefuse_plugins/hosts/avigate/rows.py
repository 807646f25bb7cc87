"""Tensors that share their first dimension: sets of encoded videos and texts, and what blocks prepare from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.errors import DataError


@dataclass(frozen=True)
class Rows:
    """Base of dataclasses whose fields are tensors of equally many rows, or ``None``."""

    def __len__(self) -> int:
        return len(next(value for value in self._values().values() if value is not None))

    def _values(self) -> dict[str, Tensor | None]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __getitem__(self, index: Tensor | np.ndarray | Sequence[int] | slice) -> Self:
        """The rows of an integer index or a slice."""
        if isinstance(index, slice):
            return self.map(lambda value: value[index])
        device = next(value.device for value in self._values().values() if value is not None)
        wanted = torch.as_tensor(index, dtype=torch.long, device=device)
        # index_select: its gradient is one index_add, that of advanced indexing a sort
        return self.map(lambda value: value.index_select(0, wanted))

    def to(self, device: torch.device | str) -> Self:
        """All tensors on ``device``."""
        return self.map(lambda value: value.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """``function`` applied to every tensor."""
        return type(self)(**{name: None if v is None else function(v) for name, v in self._values().items()})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join sets along the rows; the second dimension is padded with 0 (False) to the longest.

        Raises:
            DataError: there is nothing to join.
        """
        if not parts:
            raise DataError(f"no {cls.__name__} to join; expected at least one batch")
        joined: dict[str, Tensor | None] = {}
        for item in fields(cls):
            values = [getattr(part, item.name) for part in parts]
            joined[item.name] = None if values[0] is None else torch.cat(_pad_second(values))
        return cls(**joined)


def _pad_second(values: Sequence[Tensor]) -> list[Tensor]:
    if values[0].dim() < 2:
        return list(values)
    longest = max(value.shape[1] for value in values)
    tail = [0, 0] * (values[0].dim() - 2)
    return [F.pad(value, [*tail, 0, longest - value.shape[1]]) for value in values]


@dataclass(frozen=True)
class EncodedVideos(Rows):
    """Videos after their encoders.

    Attributes:
        frames: (V, F, D) frame features with positions.
        mask: (V, F) True = a frame.
        audio: (V, Q, D) resampled audio; arbitrary finite where a video has none.
        has_audio: (V,) bool.
    """

    frames: Tensor
    mask: Tensor
    audio: Tensor
    has_audio: Tensor


@dataclass(frozen=True)
class EncodedTexts(Rows):
    """Texts after their encoder.

    Attributes:
        tokens: (T, N, D); N is 1 where the encoder gives one vector a text. Padding is 0.
        mask: (T, N) True = a token.
    """

    tokens: Tensor
    mask: Tensor


def check_mask(name: str, mask: Tensor, features: Tensor) -> None:
    """DataError unless ``mask`` is a bool (B, L) for ``features`` (B, L, ...)."""
    if mask.dtype != torch.bool or mask.shape != features.shape[:2]:
        raise DataError(
            f"{name}_mask is {mask.dtype} of shape {tuple(mask.shape)}, expected bool {tuple(features.shape[:2])}"
        )


def reject_empty(name: str, unit: str, mask: Tensor) -> None:
    """DataError that lists the rows of ``mask`` (B, L) without any True."""
    empty = (~mask.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        shown = ", ".join(map(str, empty[:5])) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise DataError(f"{name} {shown} of the batch: no valid {unit}; expected at least one")
