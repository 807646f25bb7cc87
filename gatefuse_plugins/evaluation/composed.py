"""Metrics of composed image retrieval: CIRR (Liu et al., ICCV 2021) and FashionIQ (Wu et al., CVPR 2021).

Definitions follow SPRC's validation (``src/validate_blip.py``): CIRR leaves the reference image out of gallery and
subset, FashionIQ keeps it. All recalls are percentages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.recall import Indices, Scores, check_indices, recall_at, subset_ranks, target_ranks

CIRR_KS = (1, 5, 10, 50)
CIRR_SUBSET_KS = (1, 2, 3)
FASHIONIQ_KS = (10, 50)


def cirr_ranks(
    similarity: Scores, reference: Indices, target: Indices, members: Indices
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each query's rank (Nq,) in the gallery and in its subset, the reference left out of both.

    Arguments and errors as :func:`cirr_metrics`.
    """
    ranks = target_ranks(similarity, target, excluded=reference)
    return ranks, subset_ranks(similarity, target, members, excluded=reference)


def cirr_metrics(similarity: Scores, reference: Indices, target: Indices, members: Indices) -> dict[str, float]:
    """CIRR's recalls and their means.

    Args:
        similarity: (Nq, Ng) scores of every gallery image for every query, higher is better.
        reference: (Nq,) gallery index of the reference image.
        target: (Nq,) gallery index of the target image.
        members: (Nq, 6) gallery indices of the query's image set, target and reference among them.

    Returns:
        Percentages ``R@1 R@5 R@10 R@50 R_s@1 R_s@2 R_s@3``, ``mean`` (of R@5 and R_s@1) and the ``arithmetic_mean``,
        ``harmonic_mean``, ``geometric_mean`` of the seven recalls.

    Raises:
        DataError: a shape or index does not fit, a score is NaN, a target is unknown (-1) or its own reference.
    """
    return cirr_summary(*cirr_ranks(similarity, reference, target, members))


def cirr_summary(ranks: NDArray[np.int64], in_subset: NDArray[np.int64]) -> dict[str, float]:
    """The dict of :func:`cirr_metrics` from the ranks (Nq,) of :func:`cirr_ranks`."""
    metrics = dict(zip((f"R@{k}" for k in CIRR_KS), recall_at(ranks, CIRR_KS), strict=True))
    metrics |= zip((f"R_s@{k}" for k in CIRR_SUBSET_KS), recall_at(in_subset, CIRR_SUBSET_KS), strict=True)
    return metrics | recall_means(metrics)


def recall_means(recalls: Mapping[str, float]) -> dict[str, float]:
    """CIRR's selection criteria from its seven recalls: ``mean`` and the three Pythagorean means."""
    values = list(recalls.values())
    positive = all(value > 0 for value in values)  # one zero recall makes the harmonic and geometric means zero
    return {
        "mean": (recalls["R@5"] + recalls["R_s@1"]) / 2,
        "arithmetic_mean": math.fsum(values) / len(values),
        "harmonic_mean": len(values) / math.fsum(1 / value for value in values) if positive else 0.0,
        "geometric_mean": math.exp(math.fsum(map(math.log, values)) / len(values)) if positive else 0.0,
    }


def fashioniq_metrics(
    similarity: Scores, target: Indices, category: Indices, gallery_category: Indices, names: Sequence[str]
) -> dict[str, float]:
    """FashionIQ's recalls; a query competes in the gallery of its own category, its reference image included.

    Args:
        similarity: (Nq, Ng) scores over the joined galleries of all categories.
        target: (Nq,) index into the joined gallery.
        category: (Nq,) index into ``names`` for each query.
        gallery_category: (Ng,) index into ``names`` for each gallery entry (an image of two categories is two entries).
        names: the categories, e.g. ``("dress", "shirt", "toptee")``.

    Returns:
        Percentages ``dress_R@10 dress_R@50 ...``, their averages over the categories ``R@10`` and ``R@50``, and
        ``mean`` of these two.

    Raises:
        DataError: a shape or index does not fit, a score is NaN, or a target is of another category than its query.
    """
    similarity = np.asarray(similarity)
    ranks: dict[str, NDArray[np.int64]] = {}
    for name, rows, columns, local_target in category_blocks(target, category, gallery_category, names):
        ranks[name] = target_ranks(similarity[np.ix_(rows, columns)], local_target)
    return fashioniq_summary(ranks)


def category_blocks(
    target: Indices, category: Indices, gallery_category: Indices, names: Sequence[str]
) -> list[tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Per category that has queries: its name, query rows, gallery columns, and targets as indices into those columns.

    Arguments and errors as :func:`fashioniq_metrics`.
    """
    gallery_category = check_indices("gallery_category", gallery_category, (np.size(gallery_category),), len(names))
    category = check_indices("category", category, (np.size(category),), len(names))
    target = check_indices("target", target, category.shape, gallery_category.size)
    strayed = np.flatnonzero(gallery_category[target] != category)
    if strayed.size:
        query = int(strayed[0])
        raise DataError(
            f"query {query} ({names[category[query]]}) has its target among {names[gallery_category[target[query]]]} "
            f"images ({strayed.size} such queries); expected a target from the query's own category"
        )
    blocks = []
    for label in np.unique(category):
        rows, columns = np.flatnonzero(category == label), np.flatnonzero(gallery_category == label)
        blocks.append((names[label], rows, columns, np.searchsorted(columns, target[rows])))
    return blocks


def fashioniq_summary(ranks: Mapping[str, NDArray[np.int64]]) -> dict[str, float]:
    """The dict of :func:`fashioniq_metrics` from each category's ranks (Nq of the category,)."""
    if not ranks:
        raise DataError("no FashionIQ category has queries; expected at least one")
    per_category = {name: recall_at(values, FASHIONIQ_KS) for name, values in ranks.items()}
    metrics = {
        f"{name}_R@{k}": value for name, row in per_category.items() for k, value in zip(FASHIONIQ_KS, row, strict=True)
    }
    averages = [math.fsum(column) / len(column) for column in zip(*per_category.values(), strict=True)]
    metrics |= {f"R@{k}": value for k, value in zip(FASHIONIQ_KS, averages, strict=True)}
    return metrics | {"mean": math.fsum(averages) / len(averages)}
