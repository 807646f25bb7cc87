"""One sample's gates in the layout of QD-DETR-exp's ``gate_history``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.recording.value_sinks import TapValues


def history_of(sample_id: Any, values: Sequence[TapValues], rows: slice, gating_type: str | None) -> dict[str, Any]:
    """The entry of ``gate_history`` for ``rows`` of a forward's batch; see :class:`GateTracker`.

    First pass only; of two taps of a kind and layer the later one, which is in effect.
    """
    count = 1 + max(found.tap.layer or 0 for found in values)
    empty = np.zeros(0, np.float32)
    kinds = dict.fromkeys(["attention", "ffn", *(found.tap.kind for found in values)])
    record: dict[str, Any] = {"sample_id": sample_id}
    record |= {f"{kind}_gates": [empty] * count for kind in kinds}
    record["layer_info"] = [{"layer_idx": layer, "gating_type": gating_type} for layer in range(count)]
    for found in values:
        if found.pass_index == 0:
            layer, gates = found.tap.layer or 0, _valid(found, rows)
            record[f"{found.tap.kind}_gates"][layer] = gates
            shape = dict(zip(("batch_size", "sequence_length", "hidden_dim"), gates.shape, strict=False))
            record["layer_info"][layer] |= shape
    return record


def _valid(found: TapValues, rows: slice) -> NDArray[np.float32]:
    values = np.asarray(found.values[rows], np.float32)
    if found.valid is None:
        return values
    valid = found.valid[rows]
    if len(values) == 1:
        return values[:, valid[0]]
    return np.where(valid.reshape(valid.shape + (1,) * (values.ndim - valid.ndim)), values, np.float32(np.nan))
