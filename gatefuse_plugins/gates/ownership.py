"""Which parameters belong to gated fusion: asked of module types, never guessed from names."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


class OwnsGateParameters(nn.Module):
    """Marker base: every parameter below such a module was brought by gated fusion, not by the host."""


def named_gate_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and parameter, once each, for all parameters below an :class:`OwnsGateParameters` module."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        if not isinstance(module, OwnsGateParameters):
            continue
        for name, parameter in module.named_parameters(prefix=prefix):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter


def gate_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of all gates and fusions in ``model``, for an optimizer group of their own."""
    return [parameter for _, parameter in named_gate_parameters(model)]
