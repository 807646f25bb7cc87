"""Which tensor of a module's output or arguments is meant, and how to put another in its place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gatefuse_plugins.errors import DataError, suggestion


def pick(value: Any, select: int | str | None, place: str) -> Tensor:
    """The tensor itself, the member ``select`` of a tuple, list or mapping, or the first of a tuple where it is None.

    Raises:
        DataError: there is no such member, or it is no tensor.
    """
    found: Any = value
    if isinstance(value, Mapping) and select is not None:
        if select not in value:
            raise DataError(f"{place} has no member {select!r}{suggestion(str(select), map(str, value))}")
        found = value[select]
    elif isinstance(value, list | tuple) and not isinstance(select, str):
        index = select or 0
        if not -len(value) <= index < len(value):
            raise DataError(f"{place} has {len(value)} members; there is no number {index}")
        found = value[index]
    if not isinstance(found, Tensor) or (isinstance(value, Tensor) and select is not None):
        kind = f"a mapping of {', '.join(map(str, value))}" if isinstance(value, Mapping) else type(value).__name__
        raise DataError(f"{place} is {kind}; select={select!r} is no tensor in it; expected the number or key of one")
    return found


def put(value: Any, select: int | str | None, tensor: Tensor) -> Any:
    """``value`` with ``tensor`` where :func:`pick` looked; the original is not changed."""
    if isinstance(value, Tensor):
        return tensor
    if isinstance(value, Mapping):
        changed: Any = copy.copy(value)
        changed[select] = tensor
        return changed
    index = int(select or 0) % len(value)
    members = [*value[:index], tensor, *value[index + 1 :]]
    return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)
