"""Properties of the planner over seeded random models and checkpoints: complete, exclusive, stable, honest."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch
from random_cases import Case, Gate, random_case, source_of
from torch import nn

from gatefuse_plugins.checkpoints.migration import Plan, Row, make_plan, open_source
from gatefuse_plugins.checkpoints.migration.mapped import STATUSES
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.checkpoints.migration.rules import Rule
from gatefuse_plugins.errors import GatefuseError

CASES = 300


@pytest.fixture(params=range(0, CASES, 30), ids=lambda start: f"{start}-{start + 29}")
def cases(request: pytest.FixtureRequest) -> list[Case]:
    return [random_case(seed) for seed in range(request.param, request.param + 30)]


def test_every_parameter_of_either_side_has_one_row(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    for case in cases:
        rows, moves = case.mapped(monkeypatch).rows_and_moves()
        assert {row.status for row in rows} <= set(STATUSES)
        assert Counter(row.old for row in rows if row.old) == Counter(dict.fromkeys(case.state, 1))
        new = Counter(row.new for row in rows if row.new)
        groups = [{first, *(name for name in case.tied if case.tied[name] == first)} for first in case.tied.values()]
        for name in case.model.state_dict():
            group = next((group for group in groups if name in group), {name})
            assert sum(new[member] for member in group) >= 1, name
        assert all(count == 1 or name in case.tied.values() for name, count in new.items())
        assert max(Counter(move.new for move in moves).values(), default=0) <= 1
        for move in moves:
            assert case.model.state_dict()[move.new].shape == move.apply(case.state[move.old]).shape
        for row in rows:
            assert row.note or row.status in ("kept", "renamed", "new"), row


def test_only_gates_start_anew_and_what_a_host_lacks_is_a_conflict(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in cases:
        gates = {name for name in case.model.state_dict() if isinstance(case.model.get_submodule(top(name)), Gate)}
        mapped = case.mapped(monkeypatch)
        shared = set(case.tied) | set(case.tied.values())
        assert set(mapped.fresh) - shared <= gates
        assert not set(mapped.lacking) - shared & gates


def top(name: str) -> str:
    return name.split(".")[0]


def test_migrating_twice_changes_nothing_more(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    for case in cases:
        first = case.mapped(monkeypatch)
        once = {move.new: move.apply(case.state[move.old]) for move in first.moves}
        again = Case(case.model, once, (Rule("**"),), case.tied).mapped(monkeypatch)
        assert not again.conflicts
        assert not again.dropped
        assert {row.status for row in again.rows_and_moves()[0] if row.old} <= {"kept"}
        assert all(torch.equal(move.apply(once[move.old]), once[move.new]) for move in again.moves)
        assert {move.new for move in again.moves} == set(once)


def test_of_tied_weights_one_value_is_kept_under_the_first_name(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in cases:
        names = list(case.model.state_dict())
        moves = {move.new: move for move in case.mapped(monkeypatch).moves}
        assert not set(moves) & set(case.tied)
        for first in set(case.tied.values()):
            held = [name for name in names if name == first or case.tied.get(name) == first]
            old = {name: move for name, move in plain_moves(case, monkeypatch).items() if name in held}
            if old:
                kept = case.state[moves[first].old]
                assert torch.equal(kept, case.state[old[min(old, key=names.index)]])


def plain_moves(case: Case, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """New name to old one, were nothing tied."""
    apart = nn.Module()
    for name, tensor in case.model.state_dict().items():
        node = apart
        for segment in name.split(".")[:-1]:
            if not hasattr(node, segment):
                node.add_module(segment, nn.Module())
            node = getattr(node, segment)
        node.register_parameter(name.rpartition(".")[2], nn.Parameter(tensor.clone()))
    return {move.new: move.old for move in Case(apart, case.state, case.rules, {}).mapped(monkeypatch).moves}


def test_the_order_of_the_file_does_not_matter(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    for case in cases:
        turned = Case(case.model, dict(reversed(case.state.items())), case.rules, case.tied)
        one, other = (chosen.mapped(monkeypatch) for chosen in (case, turned))
        assert {(m.old, m.new) for m in one.moves if m.new not in case.tied.values()} == {
            (m.old, m.new) for m in other.moves if m.new not in case.tied.values()
        }
        assert set(one.conflicts) == set(other.conflicts)
        assert set(one.lacking) == set(other.lacking)


def test_a_misspelt_name_is_told_its_nearest(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    found = 0
    for case in cases:
        mapped = case.mapped(monkeypatch)
        for old, why in mapped.conflicts.items():
            if old.endswith("x") and old not in mapped.aimed and "nearest" in why:
                path = old.partition(".")[2].removesuffix("x")
                found += path in why
                assert path in why, (old, why)
    assert found


def test_json_round_trip(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    for case in cases:
        rows, moves = case.mapped(monkeypatch).rows_and_moves()
        plan = Plan(source_of(case.state), Identity("random", "qd_detr", ""), {}, tuple(rows), tuple(moves))
        data = json.loads(json.dumps(plan.to_json()))
        assert [Row(**_tupled(row)) for row in data["rows"]] == rows
        assert sum(data["counts"].values()) == len(rows)
        assert data["runnable"] == (not data["faults"]) == ("conflicting" not in data["counts"])


def _tupled(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


REAL: list[tuple[Callable[[Path], Path], dict[str, Any]]] = [
    (lambda folder: files.qd_detr(folder / "a.ckpt"), files.moments(files.AVIGATE_CUSTOM)),
    (lambda folder: files.sprc(folder / "a.pt"), {**files.COMPOSED, "fusion": {"type": "TextGuidedImageFusion"}}),
    (lambda folder: files.avigate(folder / "a.bin"), files.RETRIEVAL),
]


@pytest.mark.parametrize("number", range(len(REAL)))
def test_damaged_checkpoints_of_real_origins(tmp_path: Path, number: int) -> None:
    """Parameters lost, misshapen, misspelt: a typed error that says which, or a plan in which each has its row."""
    make, config = REAL[number]
    source = open_source(make(tmp_path))
    whole = make_plan(source, config)
    for seed in range(5):
        chance = random.Random(seed)
        state = dict(source.state)
        lost, bent, misspelt = chance.sample(sorted(state), 3)
        del state[lost]
        state[bent] = torch.zeros(*state[bent].shape, 2)
        state[misspelt + "s"] = state.pop(misspelt)
        try:
            plan = make_plan(source_of(state), config)
        except GatefuseError as error:
            assert misspelt + "s" in str(error) or "another kind" in str(error) or "random.pt" in str(error)
            continue
        assert {row.old for row in plan.rows if row.old} == set(state)
        assert plan.faults
        covered = {row.new for row in plan.rows if row.new}
        assert {row.new for row in whole.rows if row.new and row.status != "new"} - covered <= {lost, bent, misspelt}
