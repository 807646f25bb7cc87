"""Seeded random models, checkpoints that fit them more or less, and the rules between the two."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.mapped import Mapped
from gatefuse_plugins.checkpoints.migration.mapping import map_names
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.checkpoints.migration.rules import KEEP, Rule
from gatefuse_plugins.checkpoints.migration.source import Source
from gatefuse_plugins.checkpoints.migration.tables import TABLES
from gatefuse_plugins.checkpoints.reader import Checkpoint
from gatefuse_plugins.gates.ownership import OwnsGateParameters


class Gate(OwnsGateParameters):
    """Whatever lies below is a gate's."""


@dataclass(frozen=True)
class Case:
    """A model, a checkpoint that fits it more or less, and the rules between them."""

    model: nn.Module
    state: dict[str, Tensor]
    rules: tuple[Rule, ...]
    tied: dict[str, str]

    def mapped(self, monkeypatch: pytest.MonkeyPatch) -> Mapped:
        monkeypatch.setitem(TABLES, "random", self.rules)
        family = SimpleNamespace(name="qd_detr", frozen=(), skeleton=lambda _config: self.model)
        return map_names(source_of(self.state), Identity("random", "qd_detr", ""), family, {}, (), split=False)


def source_of(state: dict[str, Tensor]) -> Source:
    return Source(Checkpoint(state, "state_dict", {}, Path("random.pt")), "random")


def word(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_lowercase, k=chance.randint(6, 10)))


def random_model(chance: random.Random) -> tuple[nn.Module, dict[str, str]]:
    """Modules of one to three parameters in two levels, some of them gates, some parameters tied to earlier ones."""
    model, tied, made = nn.Module(), {}, {}
    for _top in range(chance.randint(2, 5)):
        top = (Gate if chance.random() < 0.3 else nn.Module)()
        name = word(chance)
        model.add_module(name, top)
        for _part in range(chance.randint(1, 3)):
            part, path = nn.Module(), word(chance)
            top.add_module(path, part)
            for _leaf in range(chance.randint(1, 3)):
                full = f"{name}.{path}.{(leaf := word(chance))}"
                if made and chance.random() < 0.15:
                    first = chance.choice(sorted(made))
                    part.register_parameter(leaf, made[first])
                    tied[full] = tied.get(first, first)
                else:
                    shape = tuple(chance.choices((1, 2, 3), k=chance.randint(0, 2)))
                    part.register_parameter(leaf, nn.Parameter(torch.zeros(shape)))
                made[full] = part.get_parameter(leaf)
    return model, tied


def random_case(seed: int) -> Case:
    """The model's parameters under old names, with some lost, misshapen, misspelt or added."""
    chance = random.Random(seed)
    model, tied = random_model(chance)
    names = list(model.state_dict())
    old_tops = {top: word(chance) if chance.random() < 0.5 else top for top in {n.split(".")[0] for n in names}}
    rules = [Rule(f"{old}.**", f"{top}.{{0}}" if old != top else KEEP) for top, old in sorted(old_tops.items())]
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        top, _, rest = name.partition(".")
        old = f"{old_tops[top]}.{rest}"
        fate = chance.random()
        if fate < 0.1:
            continue  # lost
        if fate < 0.15:
            state[old] = torch.zeros(*tensor.shape, 5)  # misshapen
        elif fate < 0.2:
            state[old + "x"] = torch.zeros_like(tensor)  # misspelt
        else:
            state[old] = torch.full_like(tensor, chance.random())
    if chance.random() < 0.5:
        state[f"{word(chance)}.extra"] = torch.zeros(2)
        rules += [Rule("*.extra", None, "of no use")]
    shuffled = list(state.items())
    chance.shuffle(shuffled)
    return Case(model, dict(shuffled), tuple(rules), tied)
