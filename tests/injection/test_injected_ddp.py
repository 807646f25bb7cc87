"""Two processes under DDP give the gradients of one process with the joined batch, inserts included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from injection_hosts import RULES, Encoder, inputs, stir
from ranks import run_two_ranks
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.injection import inject


def host() -> Encoder:
    model = Encoder()
    model.text.requires_grad_(False)
    torch.manual_seed(7)
    inject(model, RULES)
    stir(model)
    return model


def gradients(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    model(**batch).square().mean().backward()
    named = getattr(model, "module", model).named_parameters()
    return {name: parameter.grad for name, parameter in named if parameter.grad is not None}


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        model = nn.parallel.DistributedDataParallel(host())
        found = gradients(model, {name: value[rank : rank + 1] for name, value in inputs().items()})
        with pytest.raises(ConfigError, match="DistributedDataParallel wraps the host"):
            inject(nn.parallel.DistributedDataParallel(Encoder()), RULES)
        torch.save(found, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_equal_one_with_the_joined_batch(tmp_path: Path) -> None:
    run_two_ranks(rank_main, tmp_path)
    expected = gradients(host(), inputs())
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
