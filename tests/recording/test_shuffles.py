"""Gates in another order: those of another sample, or of other positions of the same one."""

from __future__ import annotations

import pytest
import torch
from gated_models import Direct, Layered, gate_values
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gatefuse_plugins.errors import ConfigError, GatefuseError
from gatefuse_plugins.recording.gate_profile import profile_gates
from gatefuse_plugins.recording.intervene import intervene
from gatefuse_plugins.recording.shuffles import ShuffleSamples, ShuffleTime


def sample_marks(size: int, length: int) -> Tensor:
    """(B, L, 1) whose value tells sample (tens) and position (ones)."""
    return (10.0 * torch.arange(size)[:, None] + torch.arange(length))[..., None]


def test_every_sample_gets_the_gates_of_another_one_alike_in_all_layers() -> None:
    model, value = Layered(), sample_marks(7, 4)
    seen: dict[str, list[Tensor]] = {}
    for name, tap in [("first", model.attention[0]), ("second", model.attention[1]), ("global", model.ffn[0])]:
        tap.register_forward_hook(lambda _, args, output, name=name: seen.setdefault(name, []).append(output))
    with intervene(model, ShuffleSamples()):
        model(value)
        model(value)
    first, again = seen["first"]
    donors = (first[:, 0, 0] / 10).long()
    assert sorted(donors.tolist()) == list(range(7))
    assert not (donors == torch.arange(7)).any()
    assert torch.equal(first, value[donors])
    assert torch.equal(seen["second"][0], value[donors] / 2)
    assert torch.equal(seen["global"][0], value[donors][:, :1])
    assert not torch.equal(first, again)  # another order in each batch
    with intervene(model, ShuffleSamples()):
        model(value)
    assert torch.equal(seen["first"][2], first)  # and the same again in each scope
    with intervene(model, ShuffleSamples(seed=1)):
        model(value)
    assert not torch.equal(seen["first"][3], first)


def test_gates_of_a_longer_or_shorter_sample_are_stretched() -> None:
    model, value = Direct(), sample_marks(2, 6)
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    with intervene(model, ShuffleSamples()):
        acted = model(value, mask)[..., 0]
    assert acted[0].tolist() == [10, 10, 11, 11, 12, 12]
    assert acted[1].tolist() == [1, 3, 5, 13, 14, 15]  # padding keeps its own


def test_valid_positions_may_stand_anywhere() -> None:
    model, value = Direct(), sample_marks(2, 4)
    mask = torch.tensor([[False, True, True, False], [True, False, False, True]])
    with intervene(model, ShuffleSamples()):
        assert model(value, mask)[..., 0].tolist() == [[0, 10, 13, 3], [1, 11, 12, 2]]


def test_a_batch_of_one_gets_the_gates_of_the_sample_before() -> None:
    model = Direct()
    with intervene(model, ShuffleSamples()):
        given = [model(sample_marks(1, length) + 100 * length)[0, :, 0].tolist() for length in (2, 4, 1)]
    assert given == [[200, 201], [200, 200, 201, 201], [402]]


def test_a_sample_whose_donor_has_no_valid_position_keeps_its_own() -> None:
    model, value = Direct(), sample_marks(2, 3)
    mask = torch.tensor([[True, True, True], [False, False, False]])
    with intervene(model, ShuffleSamples()):
        assert torch.equal(model(value, mask), value)


def test_positions_change_places_within_a_sample_channels_together() -> None:
    model, value = Direct(), gate_values(3, length=8, width=4)
    mask = torch.arange(8) < torch.tensor([[8], [5], [1]])
    with intervene(model, ShuffleTime()):
        acted = model(value, mask)
    for row, length in enumerate((8, 5, 1)):
        assert torch.equal(acted[row, length:], value[row, length:])
        before, after = (one[row, :length] for one in (value, acted))
        order = [int((before == position).all(1).nonzero()) for position in after]
        assert sorted(order) == list(range(length))
    assert not torch.equal(acted[0], value[0])


def test_gates_without_positions_have_no_time_to_shuffle() -> None:
    heads, model = gate_values(3, length=4, width=1)[..., None], Direct()
    with intervene(model, ShuffleTime()) as scope:
        assert torch.equal(model(heads), heads)
    assert scope.moved() == {"tap": 0.0}
    with profile_gates(model) as profiling:
        model(heads)
    with (
        pytest.raises(ConfigError, match="no values along time"),
        intervene(model, ShuffleTime(profiles=profiling.result())),
    ):
        pass


def test_a_gate_that_never_varies_cannot_be_shuffled() -> None:
    model = Direct()
    with profile_gates(model) as profiling:
        model(torch.ones(3, 4, 1))
    with (
        pytest.raises(ConfigError, match="one and the same value"),
        intervene(model, ShuffleSamples(profiles=profiling.result())),
    ):
        pass


def test_a_shuffle_cannot_be_repeated_by_gradient_checkpointing() -> None:
    model, value = Direct(), gate_values(3).requires_grad_()
    with intervene(model, ShuffleSamples()), pytest.raises(GatefuseError, match="gradient checkpointing"):
        checkpoint(model, value, use_reentrant=False).sum().backward()
    with intervene(model, ShuffleSamples()):
        model(value).sum().backward()
    assert torch.equal(value.grad, torch.ones_like(value))
