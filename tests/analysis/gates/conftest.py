"""Makes the helpers of the tests importable, whatever folder the tests start from."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parent))
torch.set_num_threads(1)
