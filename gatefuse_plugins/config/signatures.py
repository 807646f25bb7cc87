"""Which keys a registered class or function takes, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmengine.hooks import CheckpointHook
from torch import nn

# Constructors that hand **kwargs to a method instead of a base class, and what that method leaves to be given.
_KWARGS_TAKE: dict[type, frozenset[str]] = {CheckpointHook: frozenset({"meta"})}  # to Runner.save_checkpoint


@dataclass(frozen=True)
class Parameters:
    """The keyword parameters of a callable.

    Attributes:
        accepted: names that may be given.
        required: names without a default.
        open: True where any name is taken (``**kwargs`` that no base class accounts for).
    """

    accepted: frozenset[str]
    required: frozenset[str]
    open: bool


def parameters_of(target: Callable[..., Any]) -> Parameters:
    """Read the parameters of a class or function.

    For a class whose ``__init__`` takes ``**kwargs`` the classes after it in the MRO are read too, until one takes
    none: such a constructor hands them on to ``super().__init__``. What such a base requires is required here only
    where the constructors before it name no parameter of their own, since they may fill it in themselves.
    """
    if inspect.isclass(target):
        return _of_class(target)
    parameters = _signature(target)
    if parameters is None:
        return Parameters(frozenset(), frozenset(), open=True)
    accepted, required, hands_on = _split(parameters)
    return Parameters(frozenset(accepted), frozenset(required), hands_on)


def _of_class(cls: type) -> Parameters:
    accepted: set[str] = set()
    required: set[str] = set()
    hands_on = False
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        if base in (object, nn.Module):
            # Neither takes keywords: a constructor whose **kwargs got here uses them itself, in ways unknown.
            break
        parameters = _signature(vars(base)["__init__"])
        if parameters is None:
            return Parameters(frozenset(accepted), frozenset(required), open=True)
        names, needed, hands_on = _split(parameters[1:])
        if not accepted:
            required = needed
        accepted |= names | _KWARGS_TAKE.get(base, frozenset())
        hands_on = hands_on and base not in _KWARGS_TAKE
        if not hands_on:
            break
    return Parameters(frozenset(accepted), frozenset(required), open=hands_on)


def _signature(target: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """None for a builtin without a signature: nothing can be said against its keys."""
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return None


def _split(parameters: list[inspect.Parameter]) -> tuple[set[str], set[str], bool]:
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    accepted = {p.name for p in named}
    required = {p.name for p in named if p.default is p.empty}
    return accepted, required, any(p.kind is p.VAR_KEYWORD for p in parameters)
