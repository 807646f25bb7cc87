"""Recorded gate values themselves, brought to the host forward by forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.running_moments import as_rows
from gatefuse_plugins.recording.sinks import GateSink, check_rows

# Finite numbers above it would become infinite: the largest float16 and half a unit in its last place.
_HALF_MAX = 65519.0


@dataclass(frozen=True)
class TapValues:
    """What one tap gave in one forward of the model.

    Attributes:
        name, tap: the tap.
        pass_index: how many values of this tap came before, in the same forward.
        values: (B, rows, ...), float16 or float32, on the host.
        valid: (B, rows); ``None``: all.
    """

    name: str
    tap: GateTap
    pass_index: int
    values: NDArray[Any]
    valid: NDArray[np.bool_] | None

    def sample(self, row: int) -> NDArray[Any]:
        """Valid values of one sample, (rows, ...); e.g. (L, D) for an elementwise gate, (1, 1) for a global one."""
        return self.values[row] if self.valid is None else self.values[row][self.valid[row]]

    def take(self, rows: Sequence[int]) -> TapValues:
        """The same for some samples of the batch."""
        if len(rows) == len(self.values):
            return self
        index = np.asarray(rows, np.int64)
        return replace(self, values=self.values[index], valid=None if self.valid is None else self.valid[index])


Consumer = Callable[[Sequence[Any], list[TapValues]], None]


class ValuesSink(GateSink):
    """Hands the values of every forward to ``consume(ids, values)``, after one transfer to the host.

    Args:
        consume: called once for each forward that gave a value.
        half: bring values over as float16 (those beyond its range as float32); else as float32.
    """

    def __init__(self, consume: Consumer, half: bool = False) -> None:
        self._consume, self._half = consume, half
        self._seen: Counter[str] = Counter()
        self._pending: list[tuple[str, GateTap, int, Tensor, Tensor | None]] = []

    def start(self) -> None:
        self._seen.clear()
        self._pending.clear()

    def observe(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> None:
        value = value.detach()
        value = value.reshape(1, 1) if value.dim() == 0 else value[:, None] if value.dim() == 1 else value
        valid = None
        if mask is not None:
            grid, valid = as_rows(value, mask)
            value = value if grid.shape[1] == value.shape[1] else grid
        # whether an open range stays within float16 is judged on the host: asking here would wait for the device
        bounded = tap.low is not None and tap.high is not None
        # a copy even where nothing is converted: the model may go on to write into its tensor
        kept = value.to(torch.float16 if self._half and bounded else torch.float32, copy=True)
        self._pending.append((name, tap, self._seen[name], kept, None if valid is None else valid.clone()))
        self._seen[name] += 1

    def finish(self, ids: Sequence[Any]) -> None:
        pending, size = list(self._pending), len(ids)
        self.start()
        if not pending:
            return
        tensors = [value for *_, value, _ in pending] + [valid for *_, valid in pending if valid is not None]
        arrays = fetch(tensors)
        values, masks = arrays[: len(pending)], iter(arrays[len(pending) :])
        found = []
        for (name, tap, at, _, valid), value in zip(pending, values, strict=True):
            mask = None if valid is None else _rows_of_array(next(masks), size, name)
            value = as_half(value) if self._half else value
            found.append(TapValues(name, tap, at, _rows_of_array(value, size, name), mask))
        self._consume(ids, found)


def as_half(value: NDArray[Any]) -> NDArray[Any]:
    """float16, or ``value`` itself where it holds a finite number that float16 cannot."""
    if value.dtype == np.float16:
        return value
    tensor = torch.from_numpy(value)
    largest = tensor.abs().amax() if value.size else torch.zeros(())
    if largest <= _HALF_MAX or not bool((tensor.abs().nan_to_num(0, 0) > _HALF_MAX).any()):
        return tensor.half().numpy()
    return value


def fetch(tensors: Sequence[Tensor]) -> list[NDArray[Any]]:
    """Arrays of tensors of any dtypes that numpy knows; one transfer for all of them where they lie on a GPU."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return [tensor.contiguous().numpy() for tensor in tensors]
    first = tensors[0].device
    joined = torch.cat([tensor.to(first).contiguous().view(torch.uint8).reshape(-1) for tensor in tensors])
    raw, offset, arrays = joined.cpu().numpy(), 0, []
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        dtype = str(tensor.dtype).removeprefix("torch.")
        arrays.append(raw[offset : offset + size].copy().view(dtype).reshape(tuple(tensor.shape)))
        offset += size
    return arrays


def _rows_of_array(value: NDArray[Any], size: int, name: str) -> NDArray[Any]:
    check_rows(len(value), size, name)
    return np.broadcast_to(value, (size, *value.shape[1:]))
