"""Rules are strict and one to one: nothing is lost, nothing is guessed."""

from __future__ import annotations

import random

import pytest

from gatefuse_plugins.checkpoints.migration.rules import Rule, rename
from gatefuse_plugins.checkpoints.migration.tables import TABLES
from gatefuse_plugins.errors import CheckpointError


def test_wildcards_are_carried_over() -> None:
    rules = (Rule("*.gate_net.**", "fusion.gate_net.{1}"), Rule("a.{x,y}.*"), Rule("old.**", None, "not needed"))
    renamed = rename(rules, ["any.gate_net.0.weight", "a.y.bias", "old.deep.name"])
    assert {name: target.new for name, target in renamed.items()} == {
        "any.gate_net.0.weight": "fusion.gate_net.0.weight",
        "a.y.bias": "a.y.bias",
        "old.deep.name": None,
    }
    assert renamed["old.deep.name"].why == "not needed"


def test_unknown_names_are_listed_with_the_nearest() -> None:
    with pytest.raises(CheckpointError, match=r"1 parameters that no .*\n  heads\.weight \(nearest: head\.w"):
        rename((Rule("body.**"),), ["body.a", "heads.weight"], ["head.weight", "body.a"])


def test_two_names_cannot_become_one() -> None:
    with pytest.raises(CheckpointError, match=r"a\.w and b\.w would both become w"):
        rename((Rule("{a,b}.w", "w"),), ["a.w", "b.w"])


def test_a_rule_that_drops_says_why() -> None:
    with pytest.raises(ValueError, match="does not say why"):
        Rule("a.**", None)


@pytest.mark.parametrize("seed", range(20))
def test_every_name_gets_one_place_or_an_error(seed: int) -> None:
    """Random names under random tables: either all are accounted for, or the error names those that are not."""
    chance = random.Random(seed)
    segments = ["transformer", "fusion", "alpha", "0", "weight", "query_tokens", "clip", "x y", "Ω"]
    names = {".".join(chance.choices(segments, k=chance.randint(1, 5))) for _ in range(30)}
    rules = TABLES[chance.choice(sorted(TABLES))]
    try:
        renamed = rename(rules, names)
    except CheckpointError as error:
        known = {name for name in names if any(rule.apply(name)[0] for rule in rules)}
        assert known != names or "would both become" in str(error)
    else:
        assert set(renamed) == names
        targets = [target.new for target in renamed.values() if target.new is not None]
        assert len(targets) == len(set(targets))
