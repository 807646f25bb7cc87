"""What is odd about a state dict that can be read: names that no module has, and weights that are no numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

_CHUNK = 4 * 2**20  # elements looked at in one go, so that a check of any tensor needs little memory


def odd_names(names: Iterable[str]) -> list[str]:
    """The names that no parameter of a module can have.

    Empty parts (``..``, a leading or trailing dot), a leading slash, backslashes and characters that do not print
    (NUL, line ends, direction marks) have no use but to mislead whoever shows the name or makes a path of it.
    """
    return [
        name
        for name in names
        if "" in name.split(".") or name.startswith("/") or "\\" in name or not name.isprintable()
    ]


def non_finite(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Name and count of NaN and infinite elements, for every tensor that holds any."""
    counts = {name: count_non_finite(tensor) for name, tensor in state.items()}
    return {name: count for name, count in counts.items() if count}


def listed(counts: Mapping[str, int], shown: int) -> str:
    """``a.weight (3), b.bias (1)``: the first ``shown`` of what :func:`non_finite` found."""
    first = [f"{name} ({count})" for name, count in list(counts.items())[:shown]]
    return ", ".join(first) + (", ..." if len(counts) > shown else "")


@torch.no_grad()
def count_non_finite(tensor: Tensor) -> int:
    """Number of NaN and infinite elements; looked at in blocks, so that it takes little memory."""
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return 0
    total = 0
    for chunk in tensor.flatten().split(_CHUNK):
        chunk = chunk.float() if chunk.element_size() == 1 else chunk  # eight-bit floats have no sum of their own
        # a sum is several times as fast as a test of every element, and finite only if all of them are
        if not torch.isfinite(chunk.sum(dtype=torch.float64)):
            total += int((~torch.isfinite(chunk)).sum())
    return total
