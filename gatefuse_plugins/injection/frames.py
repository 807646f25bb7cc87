"""Hooks that keep the frames of an injected host: on its forward, and on the modules whose outputs fusions need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.injection.context import GIVEN, ContextStore, Frame


class OpenFrame:
    """Pre-hook of the host: start a frame with the arguments of this call."""

    def __init__(self, store: ContextStore, arguments: Mapping[str, int | None], given: tuple[str, ...]) -> None:
        self.store = store
        self.arguments = dict(arguments)
        self.given = given

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        values: dict[tuple[str, str], Any] = {}
        for name, position in self.arguments.items():
            if name in kwargs:
                values["argument", name] = kwargs[name]
            elif position is not None and position < len(args):
                values["argument", name] = args[position]
        for name in self.given:
            values["given", name] = GIVEN.get(name)
        if self.store.frame is None:
            self.store.past = None
        self.store.frame = Frame(values, self.store.frame)


class CloseFrame:
    """Hook of the host, also after an error: end the frame, and let its backward pass find it again."""

    def __init__(self, store: ContextStore) -> None:
        self.store = store

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        frame = self.store.frame
        if frame is None:
            return
        self.store.frame = frame.outer
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            recall = _Recall(self.store, frame)
            for tensor in _tensors(output):
                if tensor.requires_grad:
                    tensor.register_hook(recall)


class RecordOutput:
    """Hook of a source module: keep its output for this forward."""

    def __init__(self, store: ContextStore, name: str) -> None:
        self.store = store
        self.name = name

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        frame = self.store.frame
        if frame is not None:  # None: recomputed in a backward pass, whose frame is complete already
            frame.values["module", self.name] = output
            frame.calls[self.name] = frame.calls.get(self.name, 0) + 1


class _Recall:
    """Gradient hook: the backward pass of ``frame``'s forward has begun."""

    def __init__(self, store: ContextStore, frame: Frame) -> None:
        self.store = store
        self.frame = frame

    def __call__(self, gradient: Tensor) -> None:
        self.store.past = self.frame


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
