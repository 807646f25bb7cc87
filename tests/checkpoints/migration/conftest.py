"""Makes the helpers importable, whatever folder the tests start from."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import gatefuse_plugins.plugins  # noqa: F401  registers the hosts

sys.path.extend(str(Path(__file__).resolve().parents[level]) for level in (0, 2))
torch.set_num_threads(1)
