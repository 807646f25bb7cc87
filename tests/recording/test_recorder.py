"""Recorded statistics against plain tensor arithmetic, and that recording leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import GatefuseError, PatternError
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.running_moments import align_mask


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.gate_tap = GateTap("image", 0.0, 1.0, layer=2)
        self.open_tap = GateTap("shift", None, None)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        gate = self.gate_tap(torch.sigmoid(self.linear(x)), mask)
        return self.drop(x * gate) + self.open_tap(x.mean(dim=1, keepdim=True), mask=mask)


class Direct(nn.Module):
    """Passes its input through one tap."""

    def __init__(self, low: float | None = -1.0, high: float | None = 1.0) -> None:
        super().__init__()
        self.tap = GateTap("attention", low, high)

    def forward(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.tap(value, mask)


def test_statistics_equal_those_of_the_joined_values() -> None:
    model = Direct()
    batches = [torch.randn(size, 5, 3, generator=torch.Generator().manual_seed(size)) + 1000 for size in (1, 2, 7)]
    with record_gates(model, "tap") as gates:
        for batch in batches:
            model(batch)
    found = gates.summary()["tap"]
    joined = torch.cat(batches).double()
    assert found.count == joined.numel() == 150
    assert found.mean == pytest.approx(joined.mean().item(), rel=1e-9)
    assert found.std == pytest.approx(joined.std(correction=0).item(), rel=1e-6)
    assert (found.minimum, found.maximum) == (joined.min().item(), joined.max().item())
    assert (found.kind, found.layer, found.low, found.high) == ("attention", None, -1.0, 1.0)


def test_masked_positions_are_left_out_even_when_nan() -> None:
    value = torch.tensor([[[1.0], [3.0], [float("nan")]], [[5.0], [float("inf")], [9.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    model = Direct()
    with record_gates(model) as gates:
        model(value, mask)
    found = gates.summary()["tap"]
    assert (found.count, found.mean, found.minimum, found.maximum) == (3, 3.0, 1.0, 5.0)
    assert found.std == pytest.approx((8 / 3) ** 0.5)


def test_all_masked_gives_count_zero_and_later_values_still_count() -> None:
    model = Direct()
    with record_gates(model) as gates:
        model(torch.ones(1, 2, 1), torch.zeros(1, 2, dtype=torch.bool))
        assert gates.summary()["tap"].count == 0
        assert gates.summary()["tap"].mean != gates.summary()["tap"].mean
        model(torch.full((1, 2, 1), 0.25))
    assert (gates.summary()["tap"].count, gates.summary()["tap"].mean) == (2, 0.25)


def test_saturation_is_within_two_percent_of_the_range() -> None:
    model, open_ended = Direct(), Direct(None, None)
    values = torch.tensor([-1.0, -0.97, -0.95, 0.0, 0.5, 0.95, 0.97, 0.99]).reshape(1, 8, 1)
    with record_gates(model) as gates, record_gates(open_ended) as free:
        model(values)
        open_ended(values)
    found = gates.summary()["tap"]
    assert (found.saturated_low, found.saturated_high, found.saturated) == (2 / 8, 2 / 8, 0.5)
    assert free.summary()["tap"].saturated == 0.0


def test_outputs_gradients_and_random_state_are_untouched() -> None:
    torch.manual_seed(0)
    model = Gated().train()
    x = torch.randn(2, 3, 4)

    def run() -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        model.zero_grad()
        output = model(x)
        output.sum().backward()
        return output, model.linear.weight.grad.clone()

    plain = run()
    with record_gates(model) as gates:
        recorded = run()
    assert torch.equal(plain[0], recorded[0])
    assert torch.equal(plain[1], recorded[1])
    assert list(gates.summary()) == ["gate_tap", "open_tap"]


def test_hooks_go_on_error_and_scopes_nest() -> None:
    model = Direct()
    with pytest.raises(RuntimeError, match="stop"), record_gates(model) as outer:
        model(torch.zeros(1, 1, 1))
        with record_gates(model) as inner:
            model(torch.ones(1, 1, 1))
        model(torch.ones(1, 1, 1))
        raise RuntimeError("stop")
    model(torch.ones(1, 1, 1))
    assert not model.tap._forward_hooks
    assert (outer.summary()["tap"].count, inner.summary()["tap"].count) == (3, 1)


def test_under_autocast_and_inference_mode() -> None:
    torch.manual_seed(0)
    model = Gated().eval()
    with record_gates(model) as gates:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
            model(torch.randn(2, 3, 4))
        model(torch.randn(2, 3, 4))
    assert gates.summary()["gate_tap"].count == 48
    assert 0 < gates.summary()["gate_tap"].mean < 1


def test_selection() -> None:
    model = Gated()
    with record_gates(model, ["open_*"]) as gates:
        model(torch.randn(1, 2, 4))
    assert gates.names == list(gates.summary()) == ["open_tap"]
    with pytest.raises(PatternError, match="gate_tap"), record_gates(model, "gate_tip"):
        pass
    with pytest.raises(PatternError, match="no named part"), record_gates(nn.Linear(2, 2), "tap"):
        pass


def test_model_without_taps_gives_an_empty_recording() -> None:
    model = nn.Linear(2, 2)
    with record_gates(model) as gates:
        model(torch.ones(1, 2))
    assert gates.names == []
    assert gates.summary() == {}


def test_mask_alignment() -> None:
    mask = torch.tensor([[True, False, False], [False, False, False]])
    assert align_mask(mask, torch.zeros(2, 3, 5)).shape == (2, 3, 1)
    assert align_mask(mask, torch.zeros(2, 1, 1)).flatten().tolist() == [True, False]
    assert align_mask(mask, torch.zeros(2, 3, 1, 1)).shape == (2, 1, 1, 1)  # three heads, not three positions
    with pytest.raises(GatefuseError, match=r"\(2, 3\).*\(2, 4, 5\)"):
        align_mask(mask, torch.zeros(2, 4, 5))
