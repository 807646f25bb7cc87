"""Forward hooks that pass a foreign module's gate through a tap."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from gatefuse_plugins.checkpoints.legacy.rules import GateRule
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates.tap import GateTap


class LegacyTap(GateTap):
    """A tap that an adapter has put into a foreign model."""


class TapHook:
    """Passes a module's gate through a tap; touches the output only if something attached to the tap changed it."""

    def __init__(self, rule: GateRule, tap: GateTap, beside: nn.Module, mask: Argument | None) -> None:
        self.rule, self.tap, self.beside, self.mask = rule, tap, beside, mask

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        rule = self.rule
        raw = output if rule.item is None else _item(output, rule)
        scale = getattr(self.beside, rule.scale) if rule.scale else None
        gate = rule.to_gate(raw, scale)
        passed = self.tap(gate, self._mask_of(gate))
        if passed is gate:
            return None
        changed = rule.from_gate(passed, scale).expand_as(raw)
        if rule.item is None:
            return changed
        if isinstance(output, dict):
            return {**output, rule.item: changed}
        items = [*output]
        items[int(rule.item)] = changed
        return tuple(items) if isinstance(output, tuple) else items

    def _mask_of(self, gate: Tensor) -> Tensor | None:
        """The mask (B, L), True = valid; ``None`` for a gate of whole samples, (B, 1) or (B, 1, 1)."""
        given = None if self.mask is None else self.mask.value
        if given is None or gate.dim() < 3 or gate.shape[1] == 1 < given.shape[1]:
            return None
        return given != 0


class Argument:
    """The value that a module's ``forward`` was given for one parameter, for the length of the call."""

    def __init__(self, module: nn.Module, parameter: str) -> None:
        self.value: Tensor | None = None
        self._signature, self._parameter = inspect.signature(module.forward), parameter
        self.handles = [
            module.register_forward_pre_hook(self._take, with_kwargs=True),
            module.register_forward_hook(self._drop, always_call=True),
        ]

    def _take(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.value = self._signature.bind(*args, **kwargs).arguments.get(self._parameter)

    def _drop(self, module: nn.Module, args: Any, output: Any) -> None:
        self.value = None


def _item(output: Any, rule: GateRule) -> Tensor:
    try:
        return output[rule.item]
    except (IndexError, KeyError, TypeError):
        raise ConfigError(
            f"gate rule {rule.pattern!r}: item {rule.item!r} is not in the module's output, a {type(output).__name__};"
            " expected the place of the gate in a tuple, list or dict"
        ) from None
