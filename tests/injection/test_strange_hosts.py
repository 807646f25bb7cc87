"""Hosts that are large, compiled or choosy: refused early, with a typed error."""

from __future__ import annotations

import time

import pytest
import torch
from injection_hosts import D
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.injection import plan_injection

GATE = {"type": "ResidualGate"}


def test_a_clash_is_found_before_all_places_are_listed() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(1000))

    start = time.process_time()
    with pytest.raises(ConfigError, match=r"injection.1: the output of layers.0 .* second insert"):
        plan_injection(Wide(), [{"pattern": "layers.*", "gate": GATE}] * 50 + [{"pattern": "lairs", "gate": GATE}])
    assert time.process_time() - start < 1


def test_what_torch_jit_compiled_is_refused_or_works() -> None:
    host, x = nn.Module(), torch.zeros(2, 3, D)
    host.inner = torch.jit.trace(nn.Sequential(nn.Linear(D, D)), x)
    rule = {"pattern": "inner.0", "gate": GATE}
    with pytest.raises(ConfigError, match="inner.0: inner was compiled by torch.jit, which takes no hooks"):
        plan_injection(host, [rule])
    assert plan_injection(host, [rule | {"pattern": "inner"}]).inserts
    for compiled in (torch.jit.trace(nn.Linear(D, D), x), torch.jit.script(nn.Linear(D, D))):
        with pytest.raises(ConfigError, match="was compiled by torch.jit, which takes no hooks; inject before"):
            plan_injection(compiled, [rule])


def test_whatever_the_example_raises_is_typed() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(D, D)

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.layer(batch["video"])

    with pytest.raises(ConfigError, match="Host cannot run the example: KeyError: 'video'"):
        plan_injection(Host(), [{"pattern": "layer", "gate": GATE}], example=({},))
