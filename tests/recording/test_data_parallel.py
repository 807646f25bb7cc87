"""Two processes under DDP record what one process with all samples does, and write one log."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from gated_models import Direct, gate_values
from ranks import run_two_ranks
from torch import Tensor, nn

from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.recording.gate_log_hook import GateLogHook
from gatefuse_plugins.recording.jsonlines import read_gate_log
from gatefuse_plugins.recording.recorder import record_gates

SAMPLES = 5
SHARES = ([0, 2, 4], [1, 3, 0])  # the second rank repeats a sample, as samplers do to fill up


class Learned(Direct):
    """:class:`Direct` with a parameter, which DDP asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, value: Tensor, mask: Tensor | None = None, qid: list[str] | None = None) -> Tensor:
        return self.tap(value * self.scale, mask)


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        model = nn.parallel.DistributedDataParallel(Learned())
        values = gate_values(SAMPLES)
        with record_gates(model) as gates, torch.no_grad():
            model(values[SHARES[rank][:2]])
        found = gates.gathered()
        torch.save({name: tap.to_dict() for name, tap in found.items()}, Path(folder) / f"{rank}.pt")
        hook = GateLogHook(folder, "val")
        annotations = [{"qid": row, "vid": f"v{row}"} for row in range(SAMPLES)]
        loader = SimpleNamespace(dataset=SimpleNamespace(metainfo={"annotations": annotations}))
        runner: Any = SimpleNamespace(model=model, test_dataloader=loader, logger=logging.getLogger("quiet"))
        hook.before_test_epoch(runner)
        hook.before_test_iter(runner, 0, {"sample_index": torch.tensor(SHARES[rank])})
        with torch.no_grad():
            model(values[SHARES[rank]])
        hook.after_test_epoch(runner)
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    run_two_ranks(rank_main, tmp_path)
    values = gate_values(SAMPLES)
    model = Learned()
    with record_gates(model) as gates:
        model(values[[*SHARES[0][:2], *SHARES[1][:2]]])
    expected = gates.summary()["tap"].to_dict()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")["tap"]
        assert found.pop("histogram") == pytest.approx(expected["histogram"])
        assert found.keys() == expected.keys() - {"histogram"}
        for name, value in found.items():
            same = value == expected[name] if value is None or isinstance(value, str) else None
            assert same or value == pytest.approx(expected[name], rel=1e-6, nan_ok=True), name
    entries = list(read_gate_log(tmp_path / "gate_logs_val_Nall.jsonl"))
    assert [entry.qid for entry in entries] == list(range(SAMPLES))
    for entry in entries:
        assert torch.equal(torch.from_numpy(entry.layer_gates[0]["gate_mha"]), values[entry.qid] / 2)
    assert not list(tmp_path.glob(".gate_logs*"))


def test_replicas_are_refused() -> None:
    model = nn.DataParallel(Learned())
    model.device_ids = [0, 1]
    with pytest.raises(GatefuseError, match="DistributedDataParallel"), record_gates(model):
        pass
