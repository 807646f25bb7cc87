"""Gates put at other values, for the length of a block and nowhere else."""

from __future__ import annotations

import pytest
import torch
from gated_models import Direct, Layered, gate_values
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError, GatefuseError, PatternError
from gatefuse_plugins.fusions import AvigateCustomFusion
from gatefuse_plugins.gates import QueryGate, ResidualGate
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording import record_gates
from gatefuse_plugins.recording.gate_profile import GateProfile, profile_gates
from gatefuse_plugins.recording.intervene import choose_taps, intervene
from gatefuse_plugins.recording.interventions import Intervention, Mean, Neutral, Open
from gatefuse_plugins.recording.shuffles import ShuffleSamples, ShuffleTime


def test_a_gate_stands_at_neutral_in_the_block_and_is_free_after_it() -> None:
    model, value = Direct(), gate_values(2)
    with intervene(model, Neutral()) as scope:
        assert torch.equal(model(value), torch.zeros_like(value))
    assert torch.equal(model(value), value)
    assert not model.tap._forward_hooks
    assert scope.moved() == {"tap": pytest.approx(float(value.abs().mean()), rel=1e-5)}


def test_an_error_in_the_block_leaves_no_hook() -> None:
    model = Direct()
    with pytest.raises(RuntimeError, match="stop"), intervene(model, Neutral()):
        raise RuntimeError("stop")
    assert not model.tap._forward_hooks


@pytest.mark.parametrize("recorder_first", [True, False])
def test_a_recorder_sees_the_value_that_acts(recorder_first: bool) -> None:
    model, value = Direct(), gate_values(2)
    scopes = [record_gates(model), intervene(model, Neutral())]
    outer, inner = scopes if recorder_first else scopes[::-1]
    with outer as first, inner as second:
        model(value)
    recording = first if recorder_first else second
    assert (recording.summary()["tap"].minimum, recording.summary()["tap"].maximum) == (0.0, 0.0)


def test_neutral_is_what_the_gate_says_it_is() -> None:
    residual, query = ResidualGate(4, "clipwise"), QueryGate(4)
    nn.init.normal_(residual.head[2].weight)
    branch = torch.randn(2, 3, 4)
    with intervene(residual, Neutral()):
        assert torch.equal(residual(branch), branch)
    with intervene(query, Neutral()):
        assert query(*torch.randn(3, 2, 4)).flatten().tolist() == [1.0, 1.0]


def test_at_neutral_sound_changes_nothing() -> None:
    torch.manual_seed(0)
    fusion = AvigateCustomFusion(dim=8, fusion_layers=2, fusion_n_heads=2, gating_type="elementwise").eval()
    video, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    sounds = torch.randn(2, 2, 5, 8)
    free = [fusion(video, sound, x_mask=mask, context_mask=mask)[mask] for sound in sounds]
    with intervene(fusion, Neutral()):
        shut = [fusion(video, sound, x_mask=mask, context_mask=mask)[mask] for sound in sounds]
    assert not torch.allclose(*free)
    assert torch.equal(*shut)


def test_positions_that_the_mask_leaves_out_keep_their_values() -> None:
    model, value = Direct(), gate_values(2, length=3)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    with intervene(model, Neutral()) as scope:
        acted = model(value, mask)
    assert torch.equal(acted[~mask], value[~mask])
    assert acted[mask].abs().max() == 0
    assert scope.moved()["tap"] == pytest.approx(float(value[mask].abs().mean()), rel=1e-5)


def profiles_of(model: nn.Module, *batches: tuple[Tensor, ...]) -> dict[str, GateProfile]:
    with profile_gates(model) as profiling:
        for batch in batches:
            assert torch.equal(model(*batch), batch[0])
    return profiling.result()


def test_the_mean_is_taken_channel_by_channel_over_valid_positions() -> None:
    model, mask = Direct(), torch.tensor([[True, True, False], [True, False, False]])
    first, second = gate_values(2, length=3, seed=1), gate_values(3, length=5, seed=2)
    profile = profiles_of(model, (first, mask), (second,))["tap"]
    held = torch.cat([first[mask], second.flatten(0, 1)])
    assert torch.allclose(profile.mean, held.double().mean(0))
    assert (profile.minimum, profile.maximum) == (float(held.min()), float(held.max()))
    assert (profile.count, profile.has_positions, profile.varies) == (held.numel(), True, True)
    with intervene(model, Mean({"tap": profile})):
        assert torch.allclose(model(second), held.mean(0).expand_as(second))


def test_the_mean_of_a_headwise_gate_is_taken_head_by_head() -> None:
    model, value = Direct(), gate_values(3, length=4, width=1)[..., None]  # (3, 4, 1, 1): four heads
    profile = profiles_of(model, (value,))["tap"]
    assert not profile.has_positions
    with intervene(model, Mean({"tap": profile})):
        assert torch.allclose(model(value), value.mean(0).expand_as(value))


def test_a_gate_that_gives_nan_cannot_be_profiled() -> None:
    with profile_gates(model := Direct()) as profiling:
        model(torch.tensor([[[0.5, float("nan")]]]))
    with pytest.raises(DataError, match="gate tap gave 1 values that are NaN"):
        profiling.result()


class OneTap(nn.Module):
    def __init__(self, *tap: object) -> None:
        super().__init__()
        self.tap = GateTap(*tap)  # type: ignore[arg-type]

    def forward(self, value: Tensor) -> Tensor:
        return self.tap(value)


@pytest.mark.parametrize(
    ("tap", "expected"),
    [
        (("attention", -1.0, 1.0), 1.0),
        (("attention", 0.0, 2.0, 1.0), 2.0),  # 1 + tanh on a branch of the host
        (("query", 0.0, 1.0, 1.0), 0.0),  # the query is all text
        (("attention", 0.0, None), 0.75),  # no upper end: the largest that was seen
        (("query", None, None, 1.0), -0.5),
    ],
)
def test_open_is_the_end_of_the_range_that_the_kind_opens_to(tap: tuple[object, ...], expected: float) -> None:
    model, value = OneTap(*tap), torch.tensor([[[-0.5], [0.75]]])
    with intervene(model, Open(profiles_of(model, (value,)))):
        assert model(value).unique().tolist() == [expected]


def test_a_direction_cannot_be_opened() -> None:
    with (
        pytest.raises(ConfigError, match="cannot be applied to any of the 1 selected gates, such as tap: a delta is"),
        intervene(OneTap("delta", -1.0, 1.0), Open({})),
    ):
        pass


def test_kinds_and_layers_choose_gates() -> None:
    model, value = Layered(), gate_values(2)
    with intervene(model, Neutral(), kinds=["attention"], layers=[1]) as scope, record_gates(model) as gates:
        model(value)
    assert list(scope.taps) == ["attention.1"]
    still = [name for name, tap in gates.summary().items() if tap.maximum == tap.minimum == 0]
    assert still == ["attention.1"]
    assert list(choose_taps(model, "ffn.*", layers=[0])) == ["ffn.0"]


def test_wrong_selections_say_what_there_is() -> None:
    model = Layered()
    with pytest.raises(ConfigError, match="'atention': unknown; did you mean 'attention'"):
        choose_taps(model, kinds=["atention"])
    with pytest.raises(ConfigError, match="no gate of kind query in layers 0; it has attention in layer 0"):
        choose_taps(model, kinds=["query"], layers=[0])
    with pytest.raises(ConfigError, match="no gate; it has no gate at all"):
        choose_taps(nn.Linear(1, 1))
    with pytest.raises(PatternError):
        choose_taps(model, "fusion.**")


def test_scopes_nest_over_different_gates_only() -> None:
    model, value = Layered(), gate_values(2)
    with intervene(model, Neutral(), kinds=["attention"]), intervene(model, Neutral(), kinds=["ffn"]) as inner:
        model(value)
        with pytest.raises(GatefuseError, match="gate attention.0 is under an intervention already"):
            intervene(model, Neutral()).__enter__()
    assert list(inner.taps) == ["ffn.0", "ffn.1"]
    assert not model.attention[0]._forward_hooks


def test_compiled_models_are_refused() -> None:
    model = Direct()
    model.compile(backend="eager")
    for scope in (intervene(model, Neutral()), profile_gates(model)):
        with pytest.raises(GatefuseError, match="torch.compile skips hooks"):
            scope.__enter__()
    assert not model.tap._forward_hooks


def test_half_precision_stays_half_precision() -> None:
    model, value = Direct(), gate_values(2).half()
    for intervention in (Neutral(), Mean(profiles_of(model, (value,))), ShuffleSamples(), ShuffleTime()):
        with intervene(model, intervention):
            assert model(value).dtype == torch.float16


class Halved(Intervention):
    name = "halved"

    def replace(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> Tensor:
        return value / 2 if mask is None else value[:1]


def test_an_intervention_of_ones_own_must_keep_the_shape() -> None:
    model, value = Direct(), gate_values(2)
    with intervene(model, Halved()):
        assert torch.equal(model(value), value / 2)
        with pytest.raises(GatefuseError, match=r"halved gave gate tap a value of shape \(1, 5, 3\); expected \(2"):
            model(value, torch.ones(2, 5, dtype=torch.bool))
