"""PReLU with one slope, whose backward pass is cheap on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ScalarPReLU(nn.PReLU):
    """``nn.PReLU()``: ``x`` where positive, else a learned slope times ``x``.

    Torch's backward kernel takes four times as long on a CPU as the two passes here, a twentieth of a QD-DETR step.
    """

    def __init__(self) -> None:
        super().__init__(num_parameters=1)

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, any shape."""
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        return _ScalarPReLU.apply(x, self.weight)


class _ScalarPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.leaky_relu(x, weight.item())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        to_x = torch.ops.aten.leaky_relu_backward(gradient, x, weight.item(), False)
        to_weight = torch.dot(x.clamp(max=0).reshape(-1), gradient.reshape(-1))
        return to_x, to_weight.to(weight.dtype).reshape(weight.shape)
