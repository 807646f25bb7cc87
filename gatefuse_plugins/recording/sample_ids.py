"""Which samples a forward of a model holds: their ids, from whatever a user can name them by."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, GatefuseError, suggestion

SampleIds = str | Sequence[Any] | Callable[[tuple[Any, ...], dict[str, Any]], Sequence[Any]] | None


class SampleNames:
    """Ids for the samples of one forward after the other.

    Args:
        model: whose forward is called.
        source: see :func:`~gatefuse_plugins.recording.recorder.record_gates`.

    Raises:
        ConfigError: ``source`` is none of these.
    """

    def __init__(self, model: nn.Module, source: SampleIds) -> None:
        ordered = hasattr(source, "__len__") and hasattr(source, "__getitem__")
        if source is not None and not ordered and not callable(source):
            raise ConfigError(
                f"sample_ids={source!r}: expected a sequence of ids, the name of the forward's argument that holds"
                " them, a function of the forward's (args, kwargs), or None"
            )
        self._source, self._signature = source, inspect.signature(model.forward)
        self._host = type(model).__name__
        self._used = 0
        self._given: list[Any] | None = None

    def give(self, ids: Sequence[Any]) -> None:
        """Ids of the next forward, before all else."""
        self._given = plain(ids)

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
        """Ids that are known before a forward of these arguments; ``None`` where its size has to be seen first.

        Raises:
            GatefuseError: the forward has no argument of the given name.
        """
        if self._given is not None:
            given, self._given = self._given, None
            return given
        if isinstance(self._source, str):
            return plain(self._argument(self._source, args, kwargs))
        return plain(self._source(args, kwargs)) if callable(self._source) else None

    def after(self, size: int) -> list[Any]:
        """Ids of a forward of ``size`` samples: the next of the sequence, or numbers.

        Raises:
            GatefuseError: the sequence has come to its end.
        """
        start, self._used = self._used, self._used + size
        if self._source is None:
            return list(range(start, self._used))
        sequence = self._source
        assert not isinstance(sequence, str) and not callable(sequence)
        if self._used > len(sequence):
            raise GatefuseError(
                f"sample_ids holds {len(sequence)} ids, and sample {self._used} of {self._host} has passed; expected"
                " one id for each sample, or None to number them"
            )
        return plain(sequence[start : self._used])

    def _argument(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in kwargs:
            return kwargs[name]
        bound = self._signature.bind_partial(*args, **kwargs).arguments
        if name not in bound:
            names = sorted({*bound, *kwargs})
            raise GatefuseError(
                f"sample_ids={name!r}: {self._host} was called without that argument{suggestion(name, names)}"
            )
        return bound[name]


def plain(ids: Any) -> list[Any]:
    """A list of plain ids from a tensor, an array or any sequence.

    Raises:
        GatefuseError: one id or none of these, instead of an id for each sample.
    """
    found = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else ids
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        raise GatefuseError(f"sample ids of a forward are {ids!r}; expected a list, with an id for each sample")
    return list(found)


def hashable(ids: Sequence[Any]) -> Sequence[Any]:
    """``ids``, where values can be kept by them.

    Raises:
        GatefuseError: one is a list or the like.
    """
    for one in ids:
        try:
            hash(one)
        except TypeError as error:
            raise GatefuseError(f"sample id {one!r}: {error}; expected a number or a string") from error
    return ids
