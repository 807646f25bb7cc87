"""Which gallery images a query of composed retrieval ranks best, by the rules of its data set's metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.evaluation.recall import target_ranks


@dataclass(frozen=True)
class QueryRanking:
    """
    Attributes:
        shown: rank and gallery row of the best images, then of the target where it is known and not among them.
        target: rank of the target, ties counted against it; ``None`` where unknown.
        competitors: gallery images that are ranked.
    """

    shown: tuple[tuple[int, int], ...]
    target: int | None
    competitors: int


def rank_gallery(
    info: Mapping[str, Any], rows: Sequence[int], scores: NDArray[np.floating], top_k: int
) -> list[QueryRanking]:
    """Rankings of queries ``rows`` by ``scores`` (N, gallery).

    CIRR leaves the reference out, FashionIQ ranks the query's own category (see ``evaluation/composed.py``).

    Args:
        info: ``metainfo`` of a composed-retrieval data set of role ``eval``.

    Raises:
        DataError: a score is NaN.
    """
    at = np.asarray(rows, np.int64)
    competing = np.ones(scores.shape, bool)
    if info.get("members") is not None:
        competing[np.arange(len(at)), info["reference"][at]] = False
    if info.get("category") is not None:
        competing &= info["category"][at][:, None] == info["gallery_category"][None]
    ranked = np.where(competing, scores, -np.inf)
    targets, counts = info["target"][at], competing.sum(axis=1)
    known = np.flatnonzero(targets >= 0)
    ranks = dict(zip(known.tolist(), target_ranks(ranked[known], targets[known]), strict=True)) if len(known) else {}
    found = []
    for query, order in enumerate(np.argsort(-ranked, axis=1, kind="stable")):
        places = {int(image): rank for rank, image in enumerate(order[: min(top_k, counts[query])], start=1)}
        target = int(ranks[query]) if query in ranks else None
        if target is not None:
            places.setdefault(int(targets[query]), target)
        shown = tuple((rank, image) for image, rank in places.items())
        found.append(QueryRanking(shown, target, int(counts[query])))
    return found
