"""Checks of options that several files of this folder take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def whole_number_faults(options: Mapping[str, Any], lowest: Mapping[str, int]) -> list[str]:
    """A clause for each of ``options`` that is no ``int`` from ``lowest[name]`` (1 where not given) upwards."""
    faults = []
    for name, value in options.items():
        low, number = lowest.get(name, 1), isinstance(value, int | float) and not isinstance(value, bool)
        if number and isinstance(value, int) and value >= low:
            continue
        near = f"; nearest: {max(low, round(value))}" if number and math.isfinite(value) else ""
        faults.append(f"{name}={value!r}, expected a whole number of at least {low}{near}")
    return faults
