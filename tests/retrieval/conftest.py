"""Makes the helpers of this folder, and those that write data sets, importable."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "data")]
torch.set_num_threads(1)
