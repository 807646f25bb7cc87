"""Hooks that call an insert on the output or an argument of a host's module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.injection.context import ContextStore
from gatefuse_plugins.injection.rules import Source
from gatefuse_plugins.injection.select import pick, put

_FUSION_NAMES = {"mask": "x_mask"}


class Site:
    """One place: gathers what the insert needs and calls it. Has no state of its own, so it copies and pickles.

    Args:
        insert: ``gate(branch, mask)``, or a fusion.
        is_fusion: which of the two.
        sources: by role.
        store: of the host.
        place: for messages.
        select: see :class:`~gatefuse_plugins.injection.rules.Rule`, likewise ``batch_first``.
        widths: of x and of the context that the insert was built for, where known.
    """

    def __init__(
        self,
        insert: nn.Module,
        is_fusion: bool,
        sources: Mapping[str, Source],
        store: ContextStore,
        place: str,
        select: int | str | None,
        batch_first: bool,
        widths: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.insert = insert
        self.is_fusion = is_fusion
        self.sources = dict(sources)
        self.store = store
        self.place = place
        self.select = select
        self.batch_first = batch_first
        self.widths = widths

    def change(self, x: Tensor) -> Tensor:
        """``x`` after the insert, in its own dtype: under autocast a gate must not widen the host's stream.

        Raises:
            DataError: x or the context is not as wide as the insert takes it, or the context has no positions.
        """
        inner = x if self.batch_first else x.transpose(0, 1)
        streams = {role: self.store.read(source, role, self.place) for role, source in self.sources.items()}
        self._check(inner, streams.get("context"))
        if self.is_fusion:
            changed = self.insert(inner, **{_FUSION_NAMES.get(role, role): value for role, value in streams.items()})
        else:
            changed = self.insert(inner, streams.get("mask"))
        return (changed if self.batch_first else changed.transpose(0, 1)).to(x.dtype)

    def _check(self, x: Tensor, context: Tensor | None) -> None:
        dim, context_dim = self.widths
        insert = type(getattr(self.insert, "fusion", self.insert)).__name__
        if dim is not None and x.shape[-1] != dim:
            raise DataError(f"{self.place} is {x.shape[-1]} wide, but its {insert} takes {dim}; set dim in the rule")
        if context is None:
            return
        name = f"{self.place}: context {self.sources['context']} has shape {tuple(context.shape)}"
        if context.dim() != 3 or context.shape[1] == 0:
            raise DataError(f"{name}; expected (B, M, {context_dim or 'C'}) with one position or more")
        if context_dim is not None and context.shape[2] != context_dim:
            raise DataError(
                f"{name}, {context.shape[2]} wide, but its {insert} takes {context_dim}; set context_dim in the rule"
            )


class OutputSite(Site):
    """Forward hook."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return put(output, self.select, self.change(pick(output, self.select, self.place)))


class InputSite(Site):
    """Forward pre-hook with keyword arguments; ``select`` is a position or a keyword."""

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if isinstance(self.select, str):
            if self.select not in kwargs:
                given = suggestion(self.select, kwargs) if kwargs else "; no argument was given by name"
                raise DataError(f"{self.place}: there is no keyword argument {self.select!r} in this call{given}")
            return args, put(kwargs, self.select, self.change(pick(kwargs, self.select, self.place)))
        return put(args, self.select, self.change(pick(args, self.select, self.place))), kwargs
