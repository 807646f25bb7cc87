"""Upstream's inputs, outputs and weights, rebuilt by the rule of ``README.md`` in their folder, and published data.

None of these files is in the repository; tests that need them are skipped where they are absent.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

_SHARED = Path(os.environ.get("GATEFUSE_SHARED") or Path(__file__).resolve().parents[2] / "shared").resolve()
FOLDER = _SHARED / "oracles"
DATA = _SHARED / "data"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def needs(path: Path) -> pytest.MarkDecorator:
    """Skips a test where ``path`` is absent."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path} is not there")


def load_oracle(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Manifest and arrays of an oracle; skips the test where the oracles are absent."""
    if not (FOLDER / f"{name}.npz").is_file():
        pytest.skip(f"no oracle {name}: {FOLDER} is not there")
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return json.loads((FOLDER / f"{name}.json").read_text()), dict(arrays)


def fill(name: str, shape: list[int]) -> Tensor:
    """The oracle's value of the parameter ``name``."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32) * 0.1
    if len(shape) == 1 and name.endswith("weight"):
        values = values + 1
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
