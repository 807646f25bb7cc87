"""Sigmoid gate with temperature, bias and scale: the second published generation of audio gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.gates.gate import Gate
from gatefuse_plugins.registry import GATES


class SigmoidSquash(nn.Module):
    """``sigmoid((raw + bias) / temperature) * scale``.

    Args:
        temperature: fixed, above 0; larger is flatter.
        bias_init: start of the bias; above 0 opens the gate at the start.
        scale_init: start of the scale.
        learnable: learn bias and scale as scalars (upstream does); otherwise they stay fixed and are no parameters.

    Raises:
        ConfigError: ``temperature`` is not above 0.
    """

    low = 0.0

    def __init__(
        self, temperature: float = 1.0, bias_init: float = 0.0, scale_init: float = 1.0, learnable: bool = False
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.high = None if learnable else scale_init
        for name, start in (("bias", bias_init), ("scale", scale_init)):
            value = torch.tensor(float(start))
            if learnable:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Any shape, elementwise."""
        return torch.sigmoid((raw + self.bias) / self.temperature) * self.scale


@GATES.register_module()
class SigmoidGate(Gate):
    """:class:`Gate` with a :class:`SigmoidSquash`; arguments as there and in :class:`Gate`."""

    def __init__(
        self,
        evidence_dim: int,
        hidden_dim: int,
        temperature: float = 1.0,
        bias_init: float = 0.0,
        scale_init: float = 1.0,
        learnable: bool = False,
        **gate_options: Any,
    ) -> None:
        squash = SigmoidSquash(temperature, bias_init, scale_init, learnable)
        super().__init__(evidence_dim, squash, hidden_dim, **gate_options)
