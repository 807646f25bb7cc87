"""What every test is protected from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

torch.set_num_threads(1)  # small tensors gain nothing from more, and sums then have one order


@pytest.fixture(autouse=True)
def no_runner_state_is_left_behind() -> Iterator[None]:
    """mmengine keeps these for the process.

    The default scope decides what a bare ``type`` means afterwards; a logger holds the stream that pytest has closed.
    """
    yield
    DefaultScope._instance_dict.clear()
    MMLogger._instance_dict.clear()
