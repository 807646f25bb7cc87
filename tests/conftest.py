"""What every test is protected from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def no_default_scope_is_left_behind() -> Iterator[None]:
    """A Runner sets mmengine's default scope for the process, and with it what a bare ``type`` means afterwards."""
    yield
    DefaultScope._instance_dict.clear()
