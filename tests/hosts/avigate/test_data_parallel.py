"""Two processes under DDP give the loss and the gradients of one process with the joined batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from ranks import run_two_ranks
from tiny_avigate import tiny_avigate, tiny_batch
from torch import Tensor, nn

VARIANTS = {"text-free": {}, "text-conditioned": {"query_gate": "scalar", "text_gates": True, "max_bytes": 60_000}}


def shared_batch() -> dict[str, Tensor]:
    """Videos 0 and 3 are the same; those of rank 0 have 5 and 3 frames, those of rank 1 at most 4."""
    batch = {**tiny_batch(tokens=2), "video_id": torch.tensor([0, 1, 2, 0])}
    batch["video_mask"][2:, 4:] = False
    return batch


def loss_and_gradients(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    loss = model(mode="loss", **batch)["loss_contrastive"]
    loss.backward()
    named = getattr(model, "module", model).named_parameters()
    return loss.detach(), {name: parameter.grad for name, parameter in named}


def rank_main(rank: int, folder: str, variant: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        part = {key: value[2 * rank : 2 * rank + 2] for key, value in shared_batch().items()}
        longest = int(part["video_mask"].sum(dim=1).max())  # as the data set pads each rank's batch
        part |= {key: part[key][:, :longest] for key in ("video", "video_mask")}
        model = nn.parallel.DistributedDataParallel(tiny_avigate(**VARIANTS[variant]))
        loss, gradients = loss_and_gradients(model, part)
        torch.save({"loss": loss, "gradients": gradients}, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch was built without gloo")
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_equal_one_with_the_joined_batch(tmp_path: Path, variant: str) -> None:
    run_two_ranks(rank_main, tmp_path, variant)
    loss, gradients = loss_and_gradients(tiny_avigate(**VARIANTS[variant]), shared_batch())
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found["loss"], loss)
        assert set(found["gradients"]) == set(gradients)
        for name, gradient in gradients.items():
            torch.testing.assert_close(found["gradients"][name], gradient, rtol=1e-3, atol=1e-5, msg=name)
