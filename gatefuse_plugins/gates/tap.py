"""The one place where a gate's value can be seen or changed from outside."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, suggestion

TAP_KINDS = ("attention", "ffn", "query", "image", "shift", "delta")


class GateTap(nn.Module):
    """Identity through which a gate value passes; recorders and interventions attach forward hooks to it.

    With nothing attached it costs one function call and leaves outputs bit-identical. It holds no parameters, so
    it never shows in a state dict.

    Args:
        kind: what the value acts on, one of ``TAP_KINDS``.
        low: infimum of the value's range, ``None`` where unbounded (a learned scale).
        high: supremum of the value's range, ``None`` where unbounded.
        neutral: the value at which the context changes nothing.
        layer: 0-based layer index, ``None`` for a fusion without layers.

    Raises:
        ConfigError: ``kind`` is unknown.
    """

    def __init__(
        self, kind: str, low: float | None, high: float | None, neutral: float = 0.0, layer: int | None = None
    ) -> None:
        super().__init__()
        if kind not in TAP_KINDS:
            raise ConfigError(f"GateTap kind {kind!r} is unknown{suggestion(kind, TAP_KINDS)}")
        self.kind = kind
        self.low = low
        self.high = high
        self.neutral = neutral
        self.layer = layer

    def forward(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``value`` itself. ``mask`` (B, L), True = valid, tells observers which positions are real."""
        return value

    def extra_repr(self) -> str:
        return f"{self.kind}, range=({self.low}, {self.high}), neutral={self.neutral}, layer={self.layer}"


def gate_taps(model: nn.Module) -> Iterator[tuple[str, GateTap]]:
    """Dotted name and tap for every tap in ``model``, in module order."""
    for name, module in model.named_modules():
        if isinstance(module, GateTap):
            yield name, module
