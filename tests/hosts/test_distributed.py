"""Without a process group one process is all there is; two are compared in ``test_data_parallel.py``."""

from __future__ import annotations

import torch

from gatefuse_plugins.hosts.distributed import gather_with_grad, own_columns


def test_one_process_keeps_its_tensors() -> None:
    tensor = torch.randn(3, 2, requires_grad=True)
    assert gather_with_grad(tensor) is tensor
    assert own_columns(3, tensor.device).tolist() == [0, 1, 2]
