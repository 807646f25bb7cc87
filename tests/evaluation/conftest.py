"""A small CIRR-shaped problem whose ranks are known by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True)
class SmallCIRR:
    """Two queries over eight images."""

    similarity: NDArray[np.float32]
    reference: NDArray[np.int64]
    target: NDArray[np.int64]
    members: NDArray[np.int64]
    pairid: NDArray[np.int64]
    gallery: tuple[str, ...]

    def annotations(self) -> list[dict[str, object]]:
        return [
            {
                "pairid": int(pair),
                "reference": self.gallery[reference],
                "target_hard": self.gallery[target],
                "img_set": {"id": 0, "members": [self.gallery[member] for member in members]},
            }
            for pair, reference, target, members in zip(
                self.pairid, self.reference, self.target, self.members, strict=True
            )
        ]


@pytest.fixture
def small() -> SmallCIRR:
    scores = [
        # reference 0 scores highest and must not count; image 7 ties with target 1; image 2 (a member) is above it
        [9, 5, 6, 1, 1, 1, 1, 5],
        # target 3 is first in its set and second in the gallery (image 0 is outside the set)
        [8, 1, 7.5, 7, 1, 1, 2, 3],
    ]
    members = [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7]]
    return SmallCIRR(
        similarity=np.asarray(scores, np.float32),
        reference=np.array([0, 2]),
        target=np.array([1, 3]),
        members=np.asarray(members),
        pairid=np.array([12, 34]),
        gallery=tuple(f"img{number}" for number in range(8)),
    )
