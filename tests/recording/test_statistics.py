"""Quantiles, samples and groups of a recording, against numpy over all values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gated_models import Direct, Layered, gate_values
from torch.utils.checkpoint import checkpoint

from gatefuse_plugins.errors import ConfigError, DataError, GatefuseError
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.running_moments import sample_states
from gatefuse_plugins.recording.statistics import BINS
from gatefuse_plugins.recording.subsample import CAPACITY, Drawn, Subsample, merge_drawn, rank_error


def test_small_streams_are_kept_whole() -> None:
    model, values = Direct(), gate_values(6, 7, 3)
    with record_gates(model) as gates:
        model(values[:2])
        model(values[2:])
    found, flat = gates.summary()["tap"], values.numpy().ravel()
    assert (found.sampled, found.count, found.rank_error) == (126, 126, 0.0)
    expected = np.quantile(flat, [0.25, 0.5, 0.75, 0.95], method="hazen")
    got = [found.percentile_25, found.median, found.percentile_75, found.percentile_95]
    assert got == pytest.approx(expected.tolist(), abs=1e-6)
    shares = np.histogram(flat, BINS, (-1, 1))[0] / flat.size
    assert found.histogram == pytest.approx(shares.tolist())
    assert found.entropy == pytest.approx(-sum(share * math.log(share) for share in shares if share))


def test_large_streams_stay_within_the_rank_error_and_padding_is_left_out() -> None:
    model, mask = Direct(None, None), torch.arange(200)[None] < torch.tensor([[200], [50]])
    kept = []
    with record_gates(model) as gates:
        for at in range(30):  # the stream drifts, so a sample that favours any part of it is seen
            values = gate_values(2, 200, 32, at) + at
            values[1, 50:] = 1e6
            model(values, mask)
            kept.append(values[mask].ravel())
    found, flat = gates.summary()["tap"], np.sort(torch.cat(kept).numpy())
    assert CAPACITY / 2 < found.sampled <= CAPACITY < found.count == flat.size
    assert found.maximum < 1e6
    for share, value in ((0.25, found.percentile_25), (0.5, found.median), (0.95, found.percentile_95)):
        assert abs(np.searchsorted(flat, value) / flat.size - share) <= found.rank_error
    assert found.rank_error == rank_error(found.sampled) < 0.022


def test_a_subsample_repeats_itself_leaves_the_random_state_and_merges() -> None:
    state = torch.get_rng_state()
    draws = []
    for _ in range(2):
        subsample = Subsample(capacity=100, seed=(3,))
        for at in range(20):
            subsample.update(gate_values(4, 50, 2, at))
        draws.append(subsample.draw())
    assert np.array_equal(draws[0].values, draws[1].values)
    assert len(draws[0].values) == 100
    assert torch.equal(state, torch.get_rng_state())
    rare = Drawn(np.full(50, 9.0, np.float32), np.linspace(0, 0.5, 50, endpoint=False, dtype=np.float32), 0.5)
    often = Drawn(np.zeros(50, np.float32), np.linspace(0, 1, 50, endpoint=False, dtype=np.float32), 1.0)
    merged = merge_drawn([rare, often], 1000)  # of the often drawn only the half below the common rate counts
    assert (merged.rate, (merged.values == 9).sum(), (merged.values == 0).sum()) == (0.5, 50, 25)


def test_samples_have_a_row_each_for_tap_and_pass() -> None:
    model, values = Layered(), gate_values(3)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3, [False] * 5])
    with record_gates(model, sample_ids=["a", "b", "c", "d"]) as gates:
        model(values, mask)
        model(values[:1], passes=2)
    table = gates.samples()
    assert len(table) == 3 * 4 + 8
    keys = zip(table.sample, table.tap, table.pass_index.tolist(), strict=True)
    rows = {key: row for row, key in enumerate(keys)}
    row = rows["b", "attention.1", 0]
    expected = values[1, :2].double() / 2
    assert table.count[row] == 6
    assert table.mean[row] == pytest.approx(expected.mean().item())
    assert table.std[row] == pytest.approx(expected.std(correction=0).item())
    assert (table.minimum[row], table.maximum[row]) == (expected.min().item(), expected.max().item())
    assert table.count[rows["c", "attention.0", 0]] == 0 and math.isnan(table.mean[rows["c", "attention.0", 0]])
    assert ("d", "ffn.0", 1) in rows and ("a", "ffn.0", 1) not in rows
    with pytest.raises(GatefuseError, match="holds 1 ids"), record_gates(model, sample_ids=["a"]):
        model(values)


def test_ids_from_an_argument_a_function_or_by_hand() -> None:
    model = Direct()
    with record_gates(model, sample_ids="qid") as gates:
        model(gate_values(2), qid=["x", "y"])
        model(gate_values(1), None, ["z"])
        gates.set_sample_ids(torch.tensor([7]))
        model(gate_values(1))
        with pytest.raises(GatefuseError, match="called without that argument"):
            model(gate_values(1))
    assert gates.samples().sample == ["x", "y", "z", 7]
    with record_gates(model, sample_ids=lambda args, kwargs: [len(args[0])]) as gates:
        model(gate_values(1))
    assert gates.samples().sample == [1]


def test_batches_that_do_not_fit_the_ids() -> None:
    model = Direct()
    with pytest.raises(GatefuseError, match="values of 3 samples in a forward of 2"), record_gates(model) as gates:
        gates.set_sample_ids(["a", "b"])
        model(gate_values(3))
    model(gate_values(1))
    assert not model._forward_hooks and not model._forward_pre_hooks


def test_summary_by_kind_layer_and_all() -> None:
    model, values = Layered(), gate_values(4)
    with record_gates(model) as gates:
        model(values)
    kinds, layers = gates.summary(by="kind"), gates.summary(by="layer")
    joined = torch.cat([values, values / 2]).double()
    assert list(kinds) == ["attention", "ffn"] and list(layers) == ["0", "1"]
    assert kinds["attention"].std == pytest.approx(joined.std(correction=0).item())
    assert kinds["attention"].median == pytest.approx(joined.median().item(), abs=0.02)
    assert (kinds["attention"].layer, layers["1"].layer, layers["1"].kind) == (None, 1, "attention+ffn")
    assert gates.summary(by="all")["all"].count == 2 * (60 + 4)
    assert gates.gathered()["ffn.0"] == gates.summary()["ffn.0"]
    with pytest.raises(ConfigError, match="did you mean 'kind'"):
        gates.summary(by="kinds")


def test_values_are_kept_on_demand() -> None:
    model, values = Direct(), gate_values(2)
    mask = torch.tensor([[True] * 5, [True, False, False, False, False]])
    with record_gates(model, reduce=None) as gates:
        written = values.clone()
        model(written, mask)
        written.zero_()  # the model may go on to write into a gate
    assert np.array_equal(gates.values(0, "tap"), values[0].numpy())
    assert np.array_equal(gates.values(1, "tap"), values[1, :1].numpy())
    with pytest.raises(DataError, match="no gate values of 'tip'"):
        gates.values(1, "tip")
    with record_gates(model, reduce="moments") as gates:
        model(values)
    assert len(gates.samples()) == 0 and gates.summary()["tap"].sampled == 0
    with pytest.raises(DataError, match="kept no values"):
        gates.values(0, "tap")


def test_recomputed_forwards_do_not_count() -> None:
    model = Direct()
    weight = torch.ones(3, requires_grad=True)
    for reentrant in (False, True):
        with record_gates(model) as gates:
            output = checkpoint(lambda x: model(x * weight), gate_values(2) * weight, use_reentrant=reentrant)
            output.sum().backward()
        assert gates.summary()["tap"].count == 30
        assert len(gates.samples()) == 2


def test_compiled_models_are_refused() -> None:
    model = Layered()
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(GatefuseError, match="compiled"), record_gates(compiled):
        pass
    with record_gates(compiled._orig_mod) as gates:
        model(gate_values(1))
    assert len(gates.summary()) == 4
    model.attention.compile(backend="eager")
    with pytest.raises(GatefuseError, match="part 'attention' is compiled"), record_gates(model):
        pass
    with record_gates(model, "ffn.*", warn=False) as gates:
        pass


def test_states_of_nearly_equal_values_nan_and_nothing() -> None:
    close = 0.5 + 1e-6 * gate_values(2, 40, 8).double()
    state = sample_states(close.float())
    assert state[:, 2] / state[:, 0] == pytest.approx(
        close.float().double().var((1, 2), correction=0).numpy(), rel=1e-4
    )
    poisoned = gate_values(2)
    poisoned[1, 0, 0] = math.nan
    states = sample_states(poisoned)
    assert not states[0].isnan().any() and states[1, 1].isnan()
    assert sample_states(torch.zeros(2, 0, 4)).tolist()[1][:3] == [0, 0, 0]
    shared = sample_states(torch.full((1, 1, 1), 0.25))
    assert shared.tolist() == [[1, 0.25, 0, 0.25, 0.25, 0, 0]]
