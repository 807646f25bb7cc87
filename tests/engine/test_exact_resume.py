"""A run that is killed anywhere and resumed ends in the weights of an uninterrupted run, bit for bit."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest
import torch
from toy_training import STEPS, train_in_child

# Children fork from a clean server that imported everything once: real processes to kill, without 5 s of imports.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch._dynamo", "matplotlib.pyplot", "mmengine.runner", "gatefuse_plugins.engine.hooks"]
)


def run(work_dir: Path, **options) -> int | None:
    child = CONTEXT.Process(target=train_in_child, args=(work_dir,), kwargs=options)
    child.start()
    child.join(60)
    return child.exitcode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, torch.Tensor]:
    work_dir = tmp_path_factory.mktemp("uninterrupted")
    assert run(work_dir) == 0
    return torch.load(work_dir / "final.pt", weights_only=True)


# Checkpoints fall on every third step, epochs end at 8, 16 and 24.
@pytest.mark.parametrize(
    ("step", "place", "resumed_at"),
    [(5, "step", 3), (6, "save", 3), (9, "step", 9), (16, "validation", 16), (24, "save", 21)],
)
def test_killed_and_resumed_run_equals_uninterrupted(tmp_path, uninterrupted, step, place, resumed_at):
    assert run(tmp_path, kill=(step, place)) == -signal.SIGKILL
    assert not (tmp_path / "final.pt").exists()
    assert run(tmp_path, resume=True) == 0
    assert (tmp_path / "started_at").read_text() == str(resumed_at)
    final = torch.load(tmp_path / "final.pt", weights_only=True)
    assert final.keys() == uninterrupted.keys()
    for name, value in uninterrupted.items():
        assert torch.equal(final[name], value), name
    assert (tmp_path / f"iter_{STEPS}.pth").is_file()
    assert not list(tmp_path.glob(".*.tmp"))


def test_killed_twice_with_the_second_at_an_epoch_boundary(tmp_path, uninterrupted):
    assert run(tmp_path, kill=(7, "step")) == -signal.SIGKILL
    assert run(tmp_path, resume=True, kill=(8, "validation")) == -signal.SIGKILL
    assert run(tmp_path, resume=True) == 0
    assert (tmp_path / "started_at").read_text() == "6"  # so the validation after step 8 ran again
    final = torch.load(tmp_path / "final.pt", weights_only=True)
    assert all(torch.equal(final[name], value) for name, value in uninterrupted.items())
