"""Gates held at, or moved to, other values for the length of a block: what is a gate worth?

>>> with intervene(model, Neutral(), kinds=["attention"], layers=[0]):
...     metrics = evaluate()
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.errors import ConfigError, GatefuseError, suggestion
from gatefuse_plugins.gates.tap import TAP_KINDS, GateTap
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.interventions import Intervention
from gatefuse_plugins.recording.recorder import EVERYTHING, find_taps
from gatefuse_plugins.recording.running_moments import RunningMoments
from gatefuse_plugins.recording.statistics import fetch_states, figures
from gatefuse_plugins.recording.tap_hooks import refuse_compiled, tap_mask, warn_if_silent


class InterventionScope:
    """What :func:`intervene` yields.

    Attributes:
        taps: the gates that are acted on, by name.
        refused: name to reason, for selected gates that this intervention cannot be applied to.
        passed: whether a value has passed any of ``taps``.
    """

    def __init__(self, intervention: Intervention, chosen: dict[str, GateTap]) -> None:
        self.intervention, self.passed = intervention, False
        reasons = {name: intervention.refusal(name, tap) for name, tap in chosen.items()}
        self.refused = {name: reason for name, reason in reasons.items() if reason is not None}
        self.taps = {name: tap for name, tap in chosen.items() if name not in self.refused}
        self._moved = {name: RunningMoments() for name in self.taps}

    def act(self, name: str, value: Tensor, mask: Tensor | None) -> Tensor:
        """The value that acts instead of ``value``."""
        self.passed = True
        replaced = self.intervention.replace(name, self.taps[name], value, mask)
        if replaced.shape != value.shape:
            raise GatefuseError(
                f"intervention {self.intervention.name} gave gate {name} a value of shape {tuple(replaced.shape)};"
                f" expected {tuple(value.shape)}"
            )
        self._moved[name].update((replaced.detach() - value.detach()).abs(), mask)
        return replaced

    def moved(self) -> dict[str, float]:
        """Mean |new - old| of every gate that a value has passed, padding left out: 0 means that nothing was done."""
        states = fetch_states(self._moved)
        return {name: figures(state)["mean"] for name, state in states.items() if state[0]}


@contextlib.contextmanager
def intervene(
    model: nn.Module,
    intervention: Intervention,
    select: str | Sequence[str] = EVERYTHING,
    kinds: Sequence[str] | None = None,
    layers: Sequence[int | None] | None = None,
) -> Iterator[InterventionScope]:
    """Replace gate values for the length of the ``with`` block.

    Hooks sit on the taps and are removed on the way out, also on an error. They come before all other hooks: recorders
    and monitors see the value that acts, whichever was opened first. Values that pass outside a forward of ``model``
    (a scorer of pairs) are replaced too. Scopes nest over different gates. Where no value passed any gate, so that the
    intervention did nothing, a warning says so at the end.

    Args:
        model: any module that holds :class:`GateTap` modules; a distributed data parallel wrapper is looked into.
        intervention: see :class:`Intervention`.
        select: dotted glob or globs over tap names.
        kinds: only gates of these kinds.
        layers: only gates of these layers; ``None`` in it are gates that belong to no layer.

    Raises:
        PatternError: an explicit selection is malformed or matches no tap.
        ConfigError: an argument is of the wrong type, no gate is of such kinds and layers, or the intervention cannot
            be applied to any of them.
        GatefuseError: a part that holds a chosen gate is compiled, or a gate is under another intervention already.
    """
    if not isinstance(intervention, Intervention):
        raise ConfigError(f"intervention {intervention!r}: expected an Intervention, such as Neutral()")
    root = unwrapped(model)
    scope = InterventionScope(intervention, choose_taps(root, select, kinds, layers))
    if not scope.taps:
        name, reason = next(iter(scope.refused.items()))
        raise ConfigError(
            f"intervention {intervention.name} cannot be applied to any of the {len(scope.refused)} selected gates,"
            f" such as {name}: {reason}"
        )
    refuse_compiled(model, scope.taps)
    busy = [name for name, tap in scope.taps.items() if any(map(_is_ours, tap._forward_hooks.values()))]
    if busy:
        raise GatefuseError(f"gate {busy[0]} is under an intervention already; scopes nest over different gates only")
    intervention.start()
    with contextlib.ExitStack() as hooks:
        for name, tap in scope.taps.items():
            hooks.callback(_attach(tap, name, scope).remove)
        yield scope
    warn_if_silent(scope.passed, len(scope.taps), f"intervention {intervention.name}")


def choose_taps(
    model: nn.Module,
    select: str | Sequence[str] = EVERYTHING,
    kinds: Sequence[str] | None = None,
    layers: Sequence[int | None] | None = None,
) -> dict[str, GateTap]:
    """Taps by name pattern, kind and layer; arguments and errors as :func:`intervene`."""
    for what, given in (("kinds", kinds), ("layers", layers)):
        if given is not None and (isinstance(given, str) or not isinstance(given, Iterable)):
            raise ConfigError(f"{what}={given!r}: expected a list, such as {[given]!r}")
    for kind in kinds or ():
        if kind not in TAP_KINDS:
            raise ConfigError(f"gates of kind {kind!r}: unknown{suggestion(kind, TAP_KINDS)}")
    found = find_taps(unwrapped(model), select)
    chosen = {
        name: tap
        for name, tap in found.items()
        if (kinds is None or tap.kind in kinds) and (layers is None or tap.layer in layers)
    }
    if not chosen:
        held = sorted({f"{tap.kind} in layer {tap.layer}" for tap in found.values()})
        wanted = "" if kinds is None else f" of kind {', '.join(kinds)}"
        wanted += "" if layers is None else f" in layers {', '.join(map(str, layers))}"
        raise ConfigError(f"{type(model).__name__} has no gate{wanted}; it has {', '.join(held) or 'no gate at all'}")
    return chosen


class _Act:
    """A forward hook that replaces a tap's value; a class, so that scopes recognise each other's."""

    def __init__(self, name: str, scope: InterventionScope) -> None:
        self.name, self.scope = name, scope

    @torch._dynamo.disable
    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        return self.scope.act(self.name, output, tap_mask(args, kwargs))


def _is_ours(hook: Any) -> bool:
    return isinstance(hook, _Act)


def _attach(tap: GateTap, name: str, scope: InterventionScope) -> RemovableHandle:
    return tap.register_forward_hook(_Act(name, scope), with_kwargs=True, prepend=True)
