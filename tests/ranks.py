"""Two processes of one data-parallel run, for tests that compare them with a single one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch.multiprocessing as mp


def run_two_ranks(rank_main: Callable[..., None], folder: Path, *arguments: object) -> None:
    """Run ``rank_main(rank, str(folder), *arguments)`` in two processes; raises what one of them raised.

    They fork, since spawned children could not import a test file by the name that pytest gives it.
    """
    context = mp.start_processes(rank_main, (str(folder), *arguments), nprocs=2, start_method="fork", join=False)
    while not context.join(timeout=60):
        pass
