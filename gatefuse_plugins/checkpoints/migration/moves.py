"""How one tensor of a checkpoint becomes one of the new model: as it is, turned, cut; moments of optimizers alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reshape:
    """A view of a tensor: transposed, then one of ``parts`` equal parts or a range of the ``axis``.

    Attributes:
        transpose: swap the two dimensions of a matrix.
        axis: dimension that is cut.
        start: first index kept; ``stop``: first one not kept, ``None`` for no cut.
    """

    transpose: bool = False
    axis: int = 0
    start: int = 0
    stop: int | None = None

    def __call__(self, tensor: Tensor) -> Tensor:
        """The view; copies nothing."""
        turned = tensor.T if self.transpose else tensor
        return turned if self.stop is None else turned.narrow(self.axis, self.start, self.stop - self.start)

    def shape(self, shape: Shape) -> Shape:
        """Shape of the result for a tensor of ``shape``."""
        return tuple(self(torch.empty(shape, device="meta")).shape)

    def __str__(self) -> str:
        parts = ["transposed"] if self.transpose else []
        if self.stop is not None:
            parts.append(f"{('rows', 'columns')[self.axis]} {self.start} to {self.stop - 1}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Move:
    """Parameter ``old`` of the checkpoint becomes ``new``, through ``reshape`` where its shape changes."""

    old: str
    new: str
    reshape: Reshape | None = None

    def apply(self, tensor: Tensor) -> Tensor:
        """The new value; a view where that is possible."""
        return tensor if self.reshape is None else self.reshape(tensor)
