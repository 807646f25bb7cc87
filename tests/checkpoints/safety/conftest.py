"""An honest file to change, and the bounds within which every file must be dealt with."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from archives import STATE


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """Files of a few kB need no more, however busy the machine."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - start < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    torch.save({"model": STATE, "epoch": 3}, tmp_path / "honest.pt")
    return tmp_path / "honest.pt"
