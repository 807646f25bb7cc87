"""Dropout with cheap masks has the statistics, and the gradient, of dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gatefuse_plugins.hosts.qd_detr.dropout import Dropout, drop_linear, drop_unscaled


@pytest.mark.parametrize("p", [0.1, 0.5, 0.25, 0.013])
def test_rate_scale_and_independence(p: float) -> None:
    torch.manual_seed(0)
    dropped, scale = drop_unscaled(torch.ones(1000, 1001), p)
    assert set(dropped.unique().tolist()) == {0.0, 1.0}
    assert scale == pytest.approx(1 / (1 - p), rel=2e-5)
    spread = (p * (1 - p) / dropped.numel()) ** 0.5
    assert abs((dropped == 0).double().mean() - p) < 5 * spread + 2**-16
    columns = (dropped == 0).double().mean(dim=0)  # each place of a 64-bit word is as likely as any other
    assert (columns - p).abs().max() < 6 * (p * (1 - p) / 1000) ** 0.5
    kept = dropped.flatten() - dropped.mean()
    for lag in (1, 2, 3, 4, 8):
        correlation = (kept[lag:] * kept[:-lag]).mean() / kept.var()
        assert abs(correlation) < 6e-3


def test_the_gradient_is_masked_as_the_output() -> None:
    x = torch.randn(50, 40, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    torch.testing.assert_close(y, x.detach() * x.grad)


def test_eval_mode_and_the_ends_of_the_range() -> None:
    x = torch.randn(8, 3)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros_like(x))


def test_the_seed_decides() -> None:
    x, layer = torch.ones(100), Dropout(0.5)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_scale_on_the_weight_is_scale_on_the_input() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(6, 4), torch.randn(5, 6)
    torch.manual_seed(7)
    together = drop_linear(x, linear, 0.5, training=True)
    torch.manual_seed(7)
    torch.testing.assert_close(together, linear(Dropout(0.5)(x)))
    assert torch.equal(drop_linear(x, linear, 0.5, training=False), linear(x))
