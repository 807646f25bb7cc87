"""Makes the helpers of the tests importable, whatever folder the tests start from."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path.extend(str(folder) for folder in (TESTS / "upstream", TESTS))
torch.set_num_threads(1)
