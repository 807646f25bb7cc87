"""Makes this folder's helpers importable, whatever folder the tests start from."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
