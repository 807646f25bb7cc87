"""Statistics of one array of gates, as JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray


def array_statistics(gates: NDArray[Any]) -> dict[str, Any]:
    """``shape, mean, std, min, max, median, percentiles`` (25, 75, 95), NaN left out; None where nothing is left."""
    held = gates[np.isfinite(gates)].astype(np.float64)
    shape = list(gates.shape)
    if not held.size:
        empty = dict.fromkeys(("mean", "std", "min", "max", "median"))
        return {"shape": shape, **empty, "percentiles": dict.fromkeys(("25", "75", "95"))}
    low, median, high, top = np.percentile(held, [25, 50, 75, 95]).tolist()
    return {
        "shape": shape,
        "mean": float(held.mean()),
        "std": float(held.std()),
        "min": float(held.min()),
        "max": float(held.max()),
        "median": median,
        "percentiles": {"25": low, "75": high, "95": top},
    }


def file_name(sample_id: Any) -> str:
    """An id as a file name: no separators, no leading dot, nothing too long for a file system."""
    return quote(str(sample_id), safe=" ()[]+,=@#").lstrip(".")[:150] or "_"
