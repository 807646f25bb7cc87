"""How well a model does on every sample of a data set: the figures whose mean is the metric, sample by sample."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.composed import CIRR_KS, CIRR_SUBSET_KS, FASHIONIQ_KS
from gatefuse_plugins.evaluation.metrics import CIRRMetric, FashionIQMetric
from gatefuse_plugins.evaluation.moment_labels import field
from gatefuse_plugins.evaluation.moment_metrics import KIND_KEY, KIND_METRICS, QVHighlightsMetric, TVSumMetric
from gatefuse_plugins.evaluation.moment_queries import query_figures, top_figures
from gatefuse_plugins.evaluation.video import MSRVTT_KS
from gatefuse_plugins.hosts.avigate.metric import MSRVTTMetric
from gatefuse_plugins.recording.gate_log_hook import describe

Floats = NDArray[np.float64]
Prediction = Mapping[str, Any]


@dataclass(frozen=True)
class Outcomes:
    """N samples, in the order of the data set.

    Attributes:
        figures: (N,) by name, NaN where a figure is not of that sample (a query of another kind). Their mean over the
            samples that have one is the metric of that name, not rounded.
        primary: names of the figures that tell most, most telling first.
        unit: of the figures' changes: ``points`` (figures in percent) or the empty string; ranks are in ranks.
        ids: of the samples.
        groups: (N,) what samples share: the video, or the reference image.
    """

    figures: Mapping[str, Floats]
    primary: tuple[str, ...]
    unit: str
    ids: tuple[Hashable, ...]
    groups: tuple[Hashable, ...]

    def __len__(self) -> int:
        return len(self.ids)


@singledispatch
def outcomes_of(metric: BaseMetric, prediction: Prediction) -> Outcomes:
    """Outcomes of what ``metric`` has collected. A metric of one's own has its rule by ``outcomes_of.register``.

    Args:
        metric: its ``results`` hold the whole test set.
        prediction: what the model gave for one part of the test set.

    Raises:
        DataError: there is no rule for this metric, or the test set has no labels.
    """
    raise DataError(f"{type(metric).__name__} has no figures of single samples; expected {KNOWN}")


KNOWN = "QVHighlightsMetric, TVSumMetric, CIRRMetric, FashionIQMetric or MSRVTTMetric"


@outcomes_of.register
def _qvhighlights(metric: QVHighlightsMetric, prediction: Prediction) -> Outcomes:
    annotations = metric.meta("annotations")
    lines = metric.submission(dict(metric.results), annotations)
    figures = query_figures(lines, annotations, float(metric.meta("clip_length")))
    if not figures:
        raise DataError("the annotations of the test set hold no labels, so no outcome of a sample is known")
    primary = tuple(name for name in ("MR-full-R1@0.7", "MR-full-mAP", "HL-min-VeryGood-mAP") if name in figures)
    if field(annotations, KIND_KEY):
        kinds = np.array([entry[KIND_KEY] for entry in annotations])
        for kind in dict.fromkeys(kinds.tolist()):
            for name in KIND_METRICS:
                if name in figures:
                    figures[f"{kind}/{name}"] = np.where(kinds == kind, figures[name], np.nan)
    return Outcomes(figures, primary, "points", *_named(metric))


@outcomes_of.register
def _tvsum(metric: TVSumMetric, prediction: Prediction) -> Outcomes:
    annotations = metric.meta("annotations")
    lines = metric.submission(dict(metric.results), annotations)
    domains = [entry["domain"] for entry in annotations]
    figures = {"mAP": balanced(top_figures(lines, annotations), domains)}
    return Outcomes(figures, ("mAP",), "", *_named(metric))


@outcomes_of.register(CIRRMetric)
@outcomes_of.register(FashionIQMetric)
def _composed(metric: CIRRMetric | FashionIQMetric, prediction: Prediction) -> Outcomes:
    ranker = copy.copy(metric)  # the metric itself is left as it is; no submission is written
    ranker.keep_ranks = True
    if isinstance(ranker, CIRRMetric):
        ranker.submission_dir = None
    ranker.compute_metrics(metric.results)
    ranks = ranker.ranks
    if isinstance(metric, CIRRMetric):
        figures = recalls(ranks["rank"], CIRR_KS) | recalls(ranks["subset_rank"], CIRR_SUBSET_KS, "R_s")
        primary: tuple[str, ...] = ("R@1", "R@5", "R_s@1")
    else:
        categories = np.asarray(metric.meta("category")).tolist()
        found = recalls(ranks["rank"], FASHIONIQ_KS)
        figures = {name: balanced(values, categories) for name, values in found.items()}
        primary = ("R@10", "R@50")
    return Outcomes(figures | {"MeanR": ranks["rank"].astype(np.float64)}, primary, "points", *_named(metric))


@outcomes_of.register
def _msrvtt(metric: MSRVTTMetric, prediction: Prediction) -> Outcomes:
    meta: Mapping[str, Any] = metric.dataset_meta or {}
    target = np.asarray(meta["target"])
    ranks, back = metric.ranks(metric.results)
    figures = {f"t2v_{name}": values for name, values in recalls(ranks, MSRVTT_KS).items()} | {"t2v_MeanR": ranks * 1.0}
    if np.bincount(target, minlength=len(meta["gallery"])).max() == 1:  # a text a video: a sample is the pair
        figures |= {f"v2t_{name}": values for name, values in recalls(back[target], MSRVTT_KS).items()}
    gallery = [str(meta["gallery"][place]) for place in target.tolist()]
    return Outcomes(figures, ("t2v_R@1", "t2v_R@5"), "points", tuple(range(len(target))), tuple(gallery))


def recalls(ranks: NDArray[np.int64], ks: Sequence[int], name: str = "R") -> dict[str, Floats]:
    """``R@1 ...``: 100 for every rank (N,) that is at most k, else 0."""
    return {f"{name}@{k}": 100.0 * (ranks <= k) for k in ks}


def balanced(values: Floats, groups: Sequence[Hashable]) -> Floats:
    """``values`` (N,) weighted so that their plain mean is the mean over groups of each group's mean."""
    _, place, size = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return values * (len(values) / (len(size) * size[place]))


def _named(metric: BaseMetric) -> tuple[tuple[Hashable, ...], tuple[Hashable, ...]]:
    """Ids and groups of the samples."""
    meta: Mapping[str, Any] = metric.dataset_meta or {}
    rows = meta["annotations"] if "annotations" in meta else meta["reference"]
    names = [describe(meta, row) for row in range(len(rows))]
    return tuple(one for one, _ in names), tuple(group for _, group in names)
