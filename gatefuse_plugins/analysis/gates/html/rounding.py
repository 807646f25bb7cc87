"""Numbers as the page needs them: four significant digits, and ``None`` for what JSON cannot say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Number = int | float | None


def rounded(value: float) -> Number:
    """``value`` to four significant digits; whole numbers stay whole, NaN and infinities are ``None``."""
    if isinstance(value, int | np.integer):
        return int(value)
    if not math.isfinite(value):
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def rounded_list(values: ArrayLike) -> list[Any]:
    """An array of any shape as nested lists of :func:`rounded` numbers."""
    array = np.asarray(values)
    if array.ndim == 1:
        return [rounded(one) for one in array.tolist()]
    return [rounded_list(one) for one in array]
