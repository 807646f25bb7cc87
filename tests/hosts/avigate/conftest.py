"""Makes the helpers of the tests importable, whatever folder the tests start from."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.extend(str(Path(__file__).resolve().parents[level]) for level in (0, 2))
torch.set_num_threads(1)
