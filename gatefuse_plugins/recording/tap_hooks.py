"""What everything that hooks itself onto taps has to know of them and of the model around them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.hosts.distributed import unwrapped


def tap_mask(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The mask among the arguments of a tap's forward."""
    return args[1] if len(args) > 1 else kwargs.get("mask")


def is_compiled(module: nn.Module) -> bool:
    """Has ``torch.compile`` or ``module.compile()`` been applied to this very module?"""
    return getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")


def refuse_compiled(model: nn.Module, taps: Iterable[str] = ()) -> None:
    """GatefuseError where the model, or a part that holds one of ``taps``, is compiled: hooks would not run."""
    names = list(taps)
    for name, module in [("", model), *unwrapped(model).named_modules()]:
        if is_compiled(module) and (not name or any(tap == name or tap.startswith(f"{name}.") for tap in names)):
            raise GatefuseError(
                "gates of a compiled model cannot be reached: torch.compile skips hooks that come after it traced, and"
                f" {f'its part {name!r}' if name else 'it'} is compiled; use the uncompiled module"
                " (compiled._orig_mod, or a module that compile() was not called on)"
            )


def warn_if_silent(passed: bool, count: int, scope: str) -> None:
    """At the end of a scope over ``count`` gates: a warning where no value ``passed`` any of them.

    A compiled wrapper that was traced before the scope runs neither the model's hooks nor its taps', and cannot be
    told from a scope in which nothing was run; so this is no error.
    """
    if count and not passed:
        gates = "its only gate" if count == 1 else f"any of {count} gates"
        warnings.warn(
            f"{scope}: no value passed {gates}: is a compiled wrapper or another model being called? Name and call one"
            " and the same uncompiled module",
            stacklevel=4,  # this function, the scope, its context manager, and then the with block
        )


def recomputing() -> bool:
    """Does this forward run inside a backward pass, as gradient checkpointing's second one does?"""
    return bool(torch._C._current_graph_task_id() != -1)
