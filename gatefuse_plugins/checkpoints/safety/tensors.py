"""Stand-ins for tensors and storages: a view that its storage cannot back is found before it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# What a tensor may hold beyond its storage, by repeating it (stride 0): a few honest buffers do, a memory bomb does.
_REPEATED_BYTES = 64 * 2**20
_MAX_RANK = 64  # torch's own limit
_STORAGE_BYTES = {
    **{"Bool": 1, "Byte": 1, "Char": 1, "Short": 2, "Half": 2, "BFloat16": 2, "Int": 4, "Float": 4},
    **{"Long": 8, "Double": 8, "ComplexFloat": 8, "ComplexDouble": 16},
}
_DTYPE_BYTES = {
    **{"bool": 1, "uint8": 1, "int8": 1, "float8_e4m3fn": 1, "float8_e5m2": 1},
    **{"int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "uint32": 4, "float32": 4},
    **{"int64": 8, "uint64": 8, "float64": 8, "complex64": 8, "complex128": 16},
}
ITEM_BYTES = {
    "torch.storage.UntypedStorage": 1,
    **{f"torch.{name}Storage": size for name, size in _STORAGE_BYTES.items()},
    **{f"torch.{name}": size for name, size in _DTYPE_BYTES.items()},
}


@dataclass(frozen=True)
class Named:
    """An allowed global, referred to and not yet called."""

    name: str


@dataclass(frozen=True)
class Storage:
    """Bytes of tensor data elsewhere in the file."""

    item_bytes: int
    total_bytes: int


class TensorMark:
    """A tensor, or a parameter around one."""


def require(condition: bool, fault: str) -> None:
    """Raise ``ValueError(fault)`` unless ``condition``."""
    if not condition:
        raise ValueError(fault)


def naturals(values: Any, what: str) -> tuple[int, ...]:
    fine = isinstance(values, tuple) and len(values) <= _MAX_RANK
    fine = fine and all(type(value) is int and 0 <= value < 2**63 for value in values)
    require(fine, f"a malformed {what} of a tensor; expected at most {_MAX_RANK} whole numbers from 0")
    return tuple(values)


def tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any, item_bytes: int | None = None) -> TensorMark:
    """Check that a view lies inside its storage; ``rest``: requires_grad, backward hooks, metadata."""
    require(isinstance(storage, Storage), "a tensor without a storage")
    item = item_bytes or storage.item_bytes
    (first,) = naturals((offset,), "offset")
    shape, steps = naturals(size, "shape"), naturals(stride, "stride")
    require(len(shape) == len(steps), f"a tensor of shape {shape} with strides {steps}")
    require(not any(rest[1:]), "a tensor with backward hooks or conjugate bits")
    elements = math.prod(shape)
    if elements:
        needed = (first + 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))) * item
        fault = f"a tensor of shape {shape} needs {needed} bytes of a storage of {storage.total_bytes}"
        require(needed <= storage.total_bytes, fault)
        fault = f"a tensor of shape {shape} repeats a storage of {storage.total_bytes} bytes"
        require(elements * item <= storage.total_bytes + _REPEATED_BYTES, fault)
    return TensorMark()


def tensor_with_dtype(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> TensorMark:
    grad, hooks, dtype, *metadata = rest
    require(isinstance(dtype, Named) and dtype.name in ITEM_BYTES, "a tensor without a dtype")
    return tensor(storage, offset, size, stride, grad, hooks, *metadata, item_bytes=ITEM_BYTES[dtype.name])


def parameter(data: Any, requires_grad: Any, hooks: Any) -> TensorMark:
    require(isinstance(data, TensorMark) and type(requires_grad) is bool and not hooks, "a malformed parameter")
    return TensorMark()
