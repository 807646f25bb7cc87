"""Where the streams that an inserted fusion needs come from, for as long as one forward of the host runs.

A *frame* holds what one forward of the host knows: arguments of that call, outputs of modules that ran so far, and what
:func:`fusion_context` gave. Frames are stacked, since a host may call itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from gatefuse_plugins.errors import ConfigError, DataError, suggestion
from gatefuse_plugins.injection.rules import Source
from gatefuse_plugins.injection.select import pick

# A plain dict, not a ContextVar: torch.compile reads it without breaking the graph.
GIVEN: dict[str, Any] = {}


@contextlib.contextmanager
def fusion_context(**streams: Tensor | None) -> Iterator[None]:
    """Hand streams to fusions whose rules say ``context=dict(given=NAME)``, for hosts whose forward takes none.

    Scopes nest, and the inner one wins. Not meant for several threads at once.

    Args:
        streams: tensors by name, (B, M, C), or masks (B, M).
    """
    before = dict(GIVEN)
    GIVEN.update(streams)
    try:
        yield
    finally:
        GIVEN.clear()
        GIVEN.update(before)


class Frame:
    """What one forward of the host knows: ``values`` by (kind, name), and how often each source module ran."""

    def __init__(self, values: dict[tuple[str, str], Any], outer: Frame | None) -> None:
        self.values = values
        self.calls: dict[str, int] = {}
        self.outer = outer


class ContextStore:
    """The frames of one injected host.

    ``frame`` belongs to the forward that runs now; ``past`` to the forward whose backward pass runs now, for layers
    that gradient checkpointing runs a second time. Copies and pickles of a store start empty.
    """

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self.past: Frame | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"frame": None, "past": None}

    def read(self, source: Source, role: str, place: str) -> Any:
        """The tensor that ``source`` stands for now; ``None`` for a mask that the caller left out.

        Raises:
            ConfigError: the module that it names ran more than once in this forward.
            DataError: it is missing.
        """
        frame = self.frame if self.frame is not None else self.past
        if frame is None:
            value = GIVEN.get(source.name) if source.kind == "given" else None
        else:
            value = frame.values.get((source.kind, source.name))
            calls = frame.calls.get(source.name, 0)
            if source.kind == "module" and calls > 1 and source.call == "only":
                raise ConfigError(
                    f"{place}: {role} is ambiguous: module {source.name!r} ran {calls} times in one forward; say"
                    f" {role}=dict(module={source.name!r}, call='last') if the latest output is meant"
                )
        if value is None:
            if role.endswith("mask") and source.kind != "module" and (frame is not None or source.kind == "given"):
                return None  # all positions are valid
            raise DataError(_missing(source, role, place, frame))
        tensor = pick(value, source.select, f"{place}: {role} ({source})")
        if source.invert:
            tensor = ~tensor.bool()
        elif role.endswith("mask"):
            tensor = tensor.bool()
        return tensor if source.batch_first else tensor.transpose(0, 1)


def _missing(source: Source, role: str, place: str, frame: Frame | None) -> str:
    if source.kind == "given":
        hint = suggestion(source.name, GIVEN) if GIVEN else "; no fusion_context is open"
        return f"{place}: {role} is to be given as {source.name!r}: run inside fusion_context({source.name}=...){hint}"
    if frame is None:
        return f"{place}: {role} comes from {source}, but the host's own forward does not run (only a part of it does)"
    if source.kind == "argument":
        return f"{place}: {role} comes from {source}, which is None or left out in this call"
    return f"{place}: {role} comes from {source}, which has not run yet in this forward; name one that runs before"
