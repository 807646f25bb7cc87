"""Which Q-Former backends this environment has."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import transformers

RELEASE = tuple(int(part) for part in transformers.__version__.split(".")[:2])
_LACKING = {
    "lavis": not find_spec("lavis") and "lavis is not installed",
    "transformers": RELEASE < (5, 13) and f"needs transformers 5.13 or later, found {transformers.__version__}",
}
EACH_BACKEND = [
    pytest.param(name, marks=pytest.mark.skipif(bool(lacking), reason=lacking or "it is here"))
    for name, lacking in _LACKING.items()
]
NEEDS_TRANSFORMERS = EACH_BACKEND[1].marks
