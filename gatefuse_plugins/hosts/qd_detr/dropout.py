"""Dropout whose masks are cheap on a CPU; elsewhere torch's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Dropout):
    """``nn.Dropout`` that draws 8 or 16 random bits an element where the input lies on the CPU.

    Torch draws a whole random float there, which takes a fifth of a QD-DETR training step. A rate that is no multiple
    of 2**-8 is rounded to one of 2**-16, and the scale follows the rounded rate, so the expectation is exact. Masks
    depend on torch's global seed alone, as with ``nn.Dropout``, but are other masks.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of ``x``, any shape; identity in eval mode."""
        if not self.training or x.device.type != "cpu":
            return F.dropout(x, self.p, self.training)
        dropped, scale = drop_unscaled(x, self.p)
        return dropped * scale


def drop_linear(x: Tensor, linear: nn.Linear, p: float, training: bool) -> Tensor:
    """``linear(dropout(x))``, with the scale of the dropout on the weight, which is smaller than the activations."""
    if not training or x.device.type != "cpu":
        return linear(F.dropout(x, p, training))
    dropped, scale = drop_unscaled(x, p)
    return F.linear(dropped, linear.weight * scale, linear.bias)


def drop_unscaled(x: Tensor, p: float) -> tuple[Tensor, float]:
    """Zero elements of the CPU tensor ``x`` with probability ``p``; also the factor that restores the expectation."""
    bits = 8 if (p * 256).is_integer() else 16
    levels = 1 << bits
    threshold = round(p * levels)
    if threshold == 0:
        return x, 1.0
    if threshold == levels:
        return torch.zeros_like(x), 1.0
    # numpy draws 64 bits in half the time that torch takes; seeded from torch's generator, so one seed rules all
    words = np.random.SFC64(int(torch.randint(1 << 62, ()))).random_raw(x.numel() * bits // 64 + 1)
    draws = torch.from_numpy(words.view(np.int8 if bits == 8 else np.int16))[: x.numel()].view(x.shape)
    # in the type of x: a boolean mask would be converted in the product, and again in its backward pass
    mask = torch.ge(draws, threshold - levels // 2, out=torch.empty_like(x, requires_grad=False))
    return x * mask, levels / (levels - threshold)
