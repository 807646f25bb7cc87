"""Which samples have gates alike?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq
from scipy.spatial.distance import cdist

from gatefuse_plugins.analysis.gates.data import SampleId
from gatefuse_plugins.analysis.gates.overall import mean_over_samples
from gatefuse_plugins.analysis.gates.summary import Floats, GateSummary

SMALLEST = 4
"""Samples below which no groups are looked for."""
WEAK_SILHOUETTE = 0.25
"""Below it there is no substantial structure (Kaufman and Rousseeuw, Finding Groups in Data, 1990, table 4)."""
CONSTANT = 1e-6
"""Standard deviation, in units of the range, below which gates count as the same in all samples."""
_FITTED, _SCORED, _STARTS = 20_000, 2_000, 5
_NO_POINTS = np.zeros((0, 0))


@dataclass(frozen=True)
class GateClusters:
    """K-means clusters of samples by the means of their gates.

    Attributes:
        sample_ids: (S).
        labels: (S,) cluster 0..k-1, the largest first; -1 for a sample that lacks a gate.
        k: number of clusters; 1 where samples do not fall into groups (``note`` says why), 0 without samples.
        sizes: (k,) samples in each.
        centers: (k, T) mean gates of each cluster, in the units of the gates.
        silhouette: mean silhouette of the chosen clustering, -1..1; NaN where k < 2.
        silhouettes: by number of clusters that was tried.
        projection: (S, 2) on the two first principal components; NaN for a sample that lacks a gate.
        explained: (2,) share of the variance that each explains.
        outcomes: by outcome name, (k,) its mean in each cluster.
        note: one sentence: how k was chosen, or why there is one cluster.
    """

    sample_ids: tuple[SampleId, ...]
    labels: NDArray[np.int64]
    k: int
    sizes: NDArray[np.int64]
    centers: Floats
    silhouette: float
    silhouettes: Mapping[int, float]
    projection: Floats
    explained: Floats
    outcomes: Mapping[str, Floats]
    note: str


def gate_clusters(summary: GateSummary, largest: int = 6, seed: int = 0) -> GateClusters:
    """Cluster samples into 2..``largest`` groups and keep the number with the best silhouette."""
    whole = np.isfinite(summary.mean).all(axis=1) if summary.gates else np.zeros(len(summary.samples), bool)
    points = (summary.mean[whole] - summary.mean[whole].mean(axis=0)) / _units(summary) if whole.any() else _NO_POINTS
    chosen, scores, note = _choose(points, largest, np.random.default_rng(seed))
    order = np.argsort(-np.bincount(chosen), kind="stable") if len(chosen) else np.zeros(0, np.int64)
    labels = np.full(len(summary.samples), -1)
    labels[whole] = np.argsort(order)[chosen]
    members = [labels == cluster for cluster in range(len(order))]
    projection, explained = _principal(points)
    placed = np.full((len(summary.samples), 2), math.nan)
    placed[whole] = projection
    return GateClusters(
        sample_ids=tuple(sample.id for sample in summary.samples),
        labels=labels,
        k=len(order),
        sizes=np.array([held.sum() for held in members], np.int64),
        centers=np.array([summary.mean[held].mean(axis=0) for held in members]).reshape(
            len(members), len(summary.gates)
        ),
        silhouette=scores[len(order)] if len(order) > 1 else math.nan,
        silhouettes=scores,
        projection=placed,
        explained=explained,
        outcomes={
            name: np.array([mean_over_samples(summary.outcome(name)[held][:, None])[0] for held in members])
            for name in summary.outcome_names
        },
        note=note,
    )


def _units(summary: GateSummary) -> Floats:
    """(T,) width of each gate's range, its standard deviation where the range is open: so that all weigh alike."""
    width = [math.nan if g.low is None or g.high is None else g.high - g.low for g in summary.gates]
    units = np.where(np.isfinite(width), width, summary.total_std)
    return np.where(np.isfinite(units) & (units > 0), units, 1.0)


def _choose(points: Floats, largest: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], dict[int, float], str]:
    """Cluster of each point, the silhouettes tried, and how the choice was made."""
    single = np.zeros(len(points), np.int64)
    if len(points) < SMALLEST:
        return single, {}, f"{len(points)} samples have all gates: too few to look for groups."
    if points.std(axis=0).max() < CONSTANT:
        return single, {}, "The gates are the same in all samples, so there is one group."
    shown = points[rng.permutation(len(points))[:_FITTED]]
    scores, found = {}, {}
    for k in range(2, min(largest, len(points) - 1, len(np.unique(shown, axis=0))) + 1):
        found[k] = _k_means(shown, k, rng)
        nearest = vq(shown[:_SCORED], found[k])[0]
        scores[k] = silhouette(shown[:_SCORED], nearest)
    best = max(scores, key=lambda k: scores[k])
    if not scores[best] >= WEAK_SILHOUETTE:
        note = f"no number of groups fits (best silhouette {scores[best]:.2f} at {best}, below {WEAK_SILHOUETTE})"
        return single, scores, f"Samples form one group: {note}."
    where = f" on {_SCORED} samples drawn" if len(points) > _SCORED else ""
    note = f"{best} groups have the best silhouette, {scores[best]:.2f}{where}, of 2 to {max(scores)} tried."
    places = np.unique(vq(points, found[best])[0], return_inverse=True)[1]
    return places.astype(np.int64), scores, note


def _k_means(points: Floats, k: int, rng: np.random.Generator) -> Floats:
    """Centres of the best of several runs from k-means++ starts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an empty cluster: another start does better
        tried = [kmeans2(points, k, iter=30, minit="++", seed=int(rng.integers(2**31)))[0] for _ in range(_STARTS)]
    return min(tried, key=lambda centres: float(np.square(vq(points, centres)[1]).sum()))


def silhouette(points: Floats, clusters: NDArray[np.integer]) -> float:
    """Mean silhouette (Rousseeuw, 1987), -1..1; -1 where there is but one cluster. Quadratic in points."""
    names, index = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        return -1.0
    member = np.eye(len(names))[index]  # (n, k)
    sums, sizes = cdist(points, points) @ member, member.sum(axis=0)
    own = sizes[index]
    inside = sums[np.arange(len(points)), index] / np.maximum(own - 1, 1)
    outside = np.where(member > 0, np.inf, sums / sizes).min(axis=1)
    highest = np.maximum(inside, outside)
    scores = np.divide(outside - inside, highest, out=np.zeros(len(points)), where=highest > 0)
    return float(np.where(own > 1, scores, 0.0).mean())


def _principal(points: Floats) -> tuple[Floats, Floats]:
    """(n, 2) coordinates on the first two principal components, and the share of variance of each."""
    if not points.size:
        return np.zeros((len(points), 2)), np.zeros(2)
    _, values, axes = np.linalg.svd(points.T @ points)
    shares = values / values.sum() if values.sum() > 0 else values
    padded = np.zeros((2, points.shape[1]))
    padded[: len(axes)] = axes[:2]
    return points @ padded.T, np.append(shares, 0.0)[:2]
