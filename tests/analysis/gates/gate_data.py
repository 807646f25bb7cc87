"""Gates in memory, of any shape, for tests of what is made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, SampleId

ATTENTION = GateInfo("layer_0.attention", "attention", 0, 0.0, 1.0, 0.0)
FFN = GateInfo("layer_0.ffn", "ffn", 0, -1.0, 1.0, 0.0)
OPEN = GateInfo("layer_1.delta", "delta", 1, None, None, 0.0)
ABSENT = np.zeros((0, 0), np.float16)


class ArrayGateData:
    """``GateData`` over arrays: gate name to one array a sample."""

    def __init__(
        self, gates: Sequence[GateInfo], values: Sequence[Mapping[str, NDArray[Any]]], samples: Sequence[Sample] = ()
    ) -> None:
        self.gates = {gate.name: gate for gate in gates}
        self.samples = list(samples) or [Sample(f"s{at}") for at in range(len(values))]
        self.origin = "arrays"
        self._values = {sample.id: held for sample, held in zip(self.samples, values, strict=True)}

    def values(self, sample_id: SampleId, gate: str) -> NDArray[Any]:
        return self._values[sample_id].get(gate, ABSENT)


def random_data(samples: int = 12, seed: int = 0, outcomes: bool = True) -> ArrayGateData:
    """Ragged elementwise attention gates that follow the sample's number, clipwise FFN gates, a global open one."""
    rng = np.random.default_rng(seed)
    values, described = [], []
    for at in range(samples):
        length, level = int(rng.integers(1, 90)), at / max(samples - 1, 1)
        values.append(
            {
                ATTENTION.name: (0.8 * level + 0.2 * rng.random((length, 5))).astype(np.float16),
                FFN.name: np.tanh(rng.normal(size=(length, 1))).astype(np.float32),
                OPEN.name: rng.normal(3, 10, size=(1, 1)).astype(np.float32),
            }
        )
        found = {"IoU": level, "rank": float(samples - at)} if outcomes else {}
        described.append(Sample(f"q/{at}", f"v{at % 3}", f"ein Hund <b>{at}</b> 犬", found))
    return ArrayGateData([ATTENTION, FFN, OPEN], values, described)
