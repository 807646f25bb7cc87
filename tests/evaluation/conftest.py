"""A small CIRR-shaped problem whose ranks are known by hand, and two moment queries whose figures are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


@pytest.fixture
def annotations() -> list[dict[str, Any]]:
    """Two queries over ten clips of 2 s."""
    return [
        {
            "qid": 7,
            "query": "A dog barks",
            "vid": "a_0_20",
            "duration": 20,
            "relevant_windows": [[0, 8], [12, 20]],
            "relevant_clip_ids": [0, 1, 2, 3, 6, 7, 8, 9],
            "saliency_scores": [[4, 2, 2]] * 4 + [[3, 3, 1]] * 4,
        },
        {
            "qid": 9,
            "query": "Rain on a roof",
            "vid": "b_0_20",
            "duration": 20,
            "relevant_windows": [[4, 16]],
            "relevant_clip_ids": [2, 3],
            "saliency_scores": [[4, 4, 4], [2, 0, 2]],
        },
    ]


@pytest.fixture
def predictions() -> list[dict[str, Any]]:
    """In the other order; qid 7 finds its windows at ranks 1 and 3, qid 9 meets [4, 16] with IoU 2/3."""
    return [
        {
            "qid": 9,
            "query": "Rain on a roof",
            "vid": "b_0_20",
            "pred_relevant_windows": [[4.0, 12.0, 0.8]],
            "pred_saliency_scores": [0.0, 0.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        },
        {
            "qid": 7,
            "query": "A dog barks",
            "vid": "a_0_20",
            "pred_relevant_windows": [[0.0, 8.0, 0.9], [0.0, 8.0, 0.5], [12.0, 20.0, 0.3]],
            "pred_saliency_scores": [9.0, 8.0, 7.0, 6.0, 1.0, 1.0, 5.0, 4.0, 3.0, 2.0],
        },
    ]
