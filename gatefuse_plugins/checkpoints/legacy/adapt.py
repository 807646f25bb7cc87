"""Taps on the gates of a live foreign module, by forward hooks: its code, weights and outputs stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.checkpoints.legacy.forks import FORKS, recognise_fork
from gatefuse_plugins.checkpoints.legacy.plan import Placement, plan_taps
from gatefuse_plugins.checkpoints.legacy.rules import GateRule, as_rule
from gatefuse_plugins.checkpoints.legacy.taps import Argument, LegacyTap, TapHook
from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.tap import gate_taps

Rules = str | Sequence[GateRule | Mapping[str, Any]]


class AdaptedModel:
    """A foreign model with taps; a context manager that takes them away again at its end.

    Attributes:
        model: the model itself.
        taps: dotted name in the model to tap, in the model's order of rules.
    """

    def __init__(self, model: nn.Module, placements: Sequence[Placement]) -> None:
        self.model = model
        self.taps: dict[str, LegacyTap] = {}
        self._handles: list[RemovableHandle] = []
        self._holders: list[tuple[nn.Module, str]] = []
        for placement in placements:
            self._place(placement)

    def _place(self, placement: Placement) -> None:
        rule, modules = placement.rule, dict(self.model.named_modules())
        layer = next((int(part) for part in placement.gate.split(".") if part.isdigit()), None)
        tap = LegacyTap(rule.kind, rule.low, rule.high, rule.neutral, layer)
        tap.train(modules[placement.holder].training)
        modules[placement.holder].add_module(placement.name, tap)
        self._holders.append((modules[placement.holder], placement.name))
        self.taps[placement.tap] = tap
        mask = None
        if placement.mask is not None:
            source, parameter = placement.mask
            mask = Argument(modules[source], parameter)
            self._handles += mask.handles
        beside = modules[placement.gate.rpartition(".")[0]]
        hook = TapHook(rule, tap, beside, mask)
        self._handles.append(modules[placement.gate].register_forward_hook(hook))

    def eject(self) -> nn.Module:
        """Take all taps and hooks away and return the model as it was; a second call does nothing."""
        for handle in self._handles:
            handle.remove()
        for holder, name in self._holders:
            delattr(holder, name)
        self._handles, self._holders, self.taps = [], [], {}
        return self.model

    def __enter__(self) -> AdaptedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.eject()


def adapt_legacy_model(model: nn.Module, rules: Rules | None = None) -> AdaptedModel:
    """Put a tap on every gate of a foreign model, so that recording, analyses and interventions work on it.

    Nothing is copied or retrained: state-dict keys, weights and outputs stay bit-identical as long as nothing attached
    to a tap changes a value. Adapt a model before ``torch.compile`` traces it: it may skip hooks that come later.

    Args:
        model: the live model; changed in place until :meth:`AdaptedModel.eject`.
        rules: rules, dicts of a config, or the name of a known fork; by default the fork is recognised.

    Raises:
        ConfigError: no known fork, a faulty rule, a mask that no enclosing module has, or taps from before.
        PatternError: a rule's pattern is malformed or matches nothing.
    """
    taps = [tap for _, tap in gate_taps(model)]
    if any(isinstance(tap, LegacyTap) for tap in taps):
        raise ConfigError(f"{type(model).__name__} has taps of an adapter already; eject() those first")
    if taps and rules is None:
        raise ConfigError(
            f"{type(model).__name__} has {len(taps)} gate taps of its own; record them without an adapter"
        )
    if isinstance(rules, str) and rules not in FORKS:
        raise ConfigError(f"fork {rules!r} is unknown{suggestion(rules, FORKS)}")
    chosen = FORKS[recognise_fork(model) if rules is None else rules].rules if isinstance(rules, str | None) else rules
    return AdaptedModel(model, plan_taps(model, [as_rule(rule) for rule in chosen]))
