"""Do gates move together, and do they go with how well the model does?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gatefuse_plugins.analysis.gates.data import labels
from gatefuse_plugins.analysis.gates.overall import between_samples, mean_over_samples
from gatefuse_plugins.analysis.gates.summary import Floats, GateSummary

SMALLEST = 3
"""Samples below which no correlation is given."""
SAME_VIDEO = 0.01
"""Gates are the same for all samples of a video if at most this share of their variance lies within videos."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of two columns of figures, over samples that have both.

    Attributes:
        first, second: what is correlated: a gate's label, a kind, or an outcome.
        rho: -1..1; NaN where either is constant or fewer than 3 samples have both.
        p: two-sided p-value of rho = 0; NaN with rho.
        q: p after Benjamini and Hochberg's control of the false discovery rate over its table; NaN with rho.
        n: samples that have both.
    """

    first: str
    second: str
    rho: float
    p: float
    q: float
    n: int


@dataclass(frozen=True)
class GateCorrelations:
    """
    Attributes:
        labels: (T) short names of the gates.
        matrix: (T, T) rho between the sample means of gates; NaN where not defined, 1 on the diagonal.
        counts: (T, T) samples behind each.
        between_kinds: kinds pairwise (means over layers).
        with_outcomes: each gate's mean, and each kind's, against each outcome.
        unit: what n counts: ``samples``; or ``videos``, where gates are the same for all samples of a video (they do
            not see the query): such samples are no independent ones, and count once, with their mean outcomes.
    """

    labels: tuple[str, ...]
    matrix: Floats
    counts: NDArray[np.int64]
    between_kinds: tuple[Correlation, ...]
    with_outcomes: tuple[Correlation, ...]
    unit: str = "samples"


def gate_correlations(summary: GateSummary) -> GateCorrelations:
    """Rank correlations between gates, between kinds, and with outcomes."""
    unit, member = _independent(summary)
    gates, names = _means(summary.mean, member), labels(summary.gates)
    kinds = {kind: mean_over_samples(gates[:, summary.of_kind(kind)].T) for kind in summary.kinds}
    matrix, counts = _matrix(gates)
    columns = dict(zip(names, gates.T, strict=True)) | (kinds if len(names) > len(kinds) else {})
    found = {name: summary.outcome(name) for name in summary.outcome_names}
    outcomes = {name: _means(values[:, None], member)[:, 0] for name, values in found.items()}
    return GateCorrelations(
        labels=tuple(names),
        matrix=matrix,
        counts=counts,
        between_kinds=_table([((a, kinds[a]), (b, kinds[b])) for a, b in combinations(kinds, 2)]),
        with_outcomes=_table([(gate, outcome) for outcome in outcomes.items() for gate in columns.items()]),
        unit=unit,
    )


def _independent(summary: GateSummary) -> tuple[str, NDArray[np.int64]]:
    """What counts as one, and which one each sample (S,) belongs to."""
    alone = np.arange(len(summary.samples))
    videos = [sample.vid for sample in summary.samples]
    if None in videos or len(set(videos)) == len(videos):
        return "samples", alone
    member = np.unique(np.array(videos, str), return_inverse=True)[1].reshape(-1)
    inside = mean_over_samples((summary.mean - _means(summary.mean, member)[member]) ** 2)
    same = inside <= SAME_VIDEO * between_samples(summary) ** 2
    return ("videos", member) if same[np.isfinite(inside)].all() else ("samples", alone)


def _means(columns: Floats, member: NDArray[np.int64]) -> Floats:
    """Means (G, T) of the samples (S, T) of each group, NaN left out."""
    groups = int(member.max(initial=-1)) + 1
    held = np.isfinite(columns)
    total, count = np.zeros((groups, columns.shape[1])), np.zeros((groups, columns.shape[1]))
    np.add.at(total, member, np.where(held, columns, 0.0))
    np.add.at(count, member, held)
    return np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)


def spearman(first: Floats, second: Floats) -> tuple[float, float, int]:
    """``rho, p, n`` over places where both (S,) are numbers; rho and p NaN where not defined."""
    both = np.isfinite(first) & np.isfinite(second)
    x, y, n = first[both], second[both], int(both.sum())
    if n < SMALLEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan, n
    found = stats.spearmanr(x, y)
    return float(found.statistic), float(found.pvalue), n


def false_discovery(p: Floats) -> Floats:
    """(n,) p-values adjusted by Benjamini and Hochberg (1995); NaN stays and counts for nothing."""
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])][::-1]  # the largest first
    scaled = p[order] * len(order) / np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), math.nan)
    adjusted[order] = np.minimum.accumulate(scaled)
    return adjusted


def _table(pairs: Sequence[tuple[tuple[str, Floats], tuple[str, Floats]]]) -> tuple[Correlation, ...]:
    found = [spearman(x, y) for (_, x), (_, y) in pairs]
    adjusted = false_discovery(np.array([p for _, p, _ in found], float))
    return tuple(
        Correlation(first, second, rho, p, float(q), n)
        for ((first, _), (second, _)), (rho, p, n), q in zip(pairs, found, adjusted, strict=True)
    )


def _matrix(columns: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """(T, T) rho of the columns of (S, T), and the samples behind each."""
    held = np.isfinite(columns).astype(np.int64)
    counts = held.T @ held
    matrix = np.full(counts.shape, math.nan)
    if columns.size and (counts == counts.flat[0]).all():  # no sample lacks some gates alone: one ranking will do
        ranks = stats.rankdata(columns[held.all(axis=1)], axis=0)
        varied = np.flatnonzero(np.ptp(ranks, axis=0) > 0) if len(ranks) >= SMALLEST else np.zeros(0, np.int64)
        if len(varied):
            matrix[np.ix_(varied, varied)] = np.corrcoef(ranks[:, varied], rowvar=False)
    else:
        for a, b in combinations(range(columns.shape[1]), 2):
            matrix[a, b] = matrix[b, a] = spearman(columns[:, a], columns[:, b])[0]
    np.fill_diagonal(matrix, 1.0)
    return matrix, counts
