"""Upstream's inputs, outputs and weights, rebuilt by the rule of ``../shared/oracles/README.md``."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[1] / ".." / "shared" / "oracles"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


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
