"""What every test is protected from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def no_runner_state_is_left_behind() -> Iterator[None]:
    """mmengine keeps these for the process.

    The default scope decides what a bare ``type`` means afterwards; a logger holds the stream that pytest has closed.
    """
    yield
    DefaultScope._instance_dict.clear()
    MMLogger._instance_dict.clear()
