"""Several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gatefuse_plugins.analysis.gates.correlations import SMALLEST, spearman
from gatefuse_plugins.analysis.gates.data import labels
from gatefuse_plugins.analysis.gates.overall import between_samples
from gatefuse_plugins.analysis.gates.summary import Floats, GateSummary


@dataclass(frozen=True)
class PairedDifference:
    """One gate in two runs, on the samples that both have.

    Attributes:
        label: of the gate.
        first, second: names of the runs.
        n: samples in both.
        difference: mean over them of second minus first.
        rho: Spearman's correlation of the two runs' sample means; NaN where not defined.
        p: Wilcoxon signed-rank test of no difference; NaN where not defined.
    """

    label: str
    first: str
    second: str
    n: int
    difference: float
    rho: float
    p: float


@dataclass(frozen=True)
class RunComparison:
    """R runs; gates are matched by kind and layer (by name where these are not unique).

    Attributes:
        names: (R) of the runs.
        labels: (G) gates of any run.
        means, stds, saturated: (R, G) over all values of a run; NaN where it lacks the gate.
        between_samples: (R, G) standard deviation over samples of the sample mean.
        samples: (R) number of samples.
        paired: differences between the first run and each other.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    means: Floats
    stds: Floats
    saturated: Floats
    between_samples: Floats
    samples: tuple[int, ...]
    paired: tuple[PairedDifference, ...]


def compare_runs(runs: Mapping[str, GateSummary]) -> RunComparison:
    """Figures of each run by gate, and differences on common samples."""
    keyed = {name: dict(zip(labels(run.gates), range(len(run.gates)), strict=True)) for name, run in runs.items()}
    every = tuple(dict.fromkeys(label for places in keyed.values() for label in places))

    def table(figure: Callable[[GateSummary], Floats]) -> Floats:
        rows = [
            np.append(figure(run), math.nan)[[keyed[name].get(label, -1) for label in every]]
            for name, run in runs.items()
        ]
        return np.array(rows).reshape(len(runs), len(every))

    first = next(iter(runs), None)
    return RunComparison(
        names=tuple(runs),
        labels=every,
        means=table(lambda run: run.total_mean),
        stds=table(lambda run: run.total_std),
        saturated=table(lambda run: run.total_saturated_low + run.total_saturated_high),
        between_samples=table(between_samples),
        samples=tuple(len(run.samples) for run in runs.values()),
        paired=tuple(
            _difference(label, (first, keyed[first][label]), (other, keyed[other][label]), runs)
            for other in runs
            for label in every
            if first is not None and other != first and label in keyed[first] and label in keyed[other]
        ),
    )


def _difference(
    label: str, first: tuple[str, int], second: tuple[str, int], runs: Mapping[str, GateSummary]
) -> PairedDifference:
    (one, at), (other, to) = first, second
    places = {sample.id: place for place, sample in enumerate(runs[other].samples)}
    shared = [(row, places[sample.id]) for row, sample in enumerate(runs[one].samples) if sample.id in places]
    rows, partners = np.array(shared, np.int64).reshape(-1, 2).T
    x, y = runs[one].mean[rows, at], runs[other].mean[partners, to]
    both = np.isfinite(x) & np.isfinite(y)
    change = (y - x)[both]
    p = float(stats.wilcoxon(change).pvalue) if len(change) >= SMALLEST and change.any() else math.nan
    mean = float(change.mean()) if len(change) else math.nan
    return PairedDifference(label, one, other, len(change), mean, spearman(x, y)[0], p)
