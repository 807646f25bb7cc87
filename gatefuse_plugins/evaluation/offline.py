"""Scores of predictions made elsewhere: CIRR submission files, or similarity arrays in the order of the annotations.

Rows of a similarity follow the caption file, columns the image split file (MSR-VTT: pair i is row i and column i).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.arrays import GalleryOrder, load_similarity
from gatefuse_plugins.evaluation.composed import (
    CIRR_KS,
    CIRR_SUBSET_KS,
    cirr_metrics,
    fashioniq_summary,
    recall_means,
)
from gatefuse_plugins.evaluation.recall import recall_at, target_ranks
from gatefuse_plugins.evaluation.validation import read_annotations, read_submission, validate_submission
from gatefuse_plugins.evaluation.video import msrvtt_metrics
from gatefuse_plugins.files import read_json

FASHIONIQ_CATEGORIES = ("dress", "shirt", "toptee")


@dataclass(frozen=True)
class OfflineScore:
    """What files made elsewhere score.

    Attributes:
        metrics: figures by name.
        queries: how many were scored.
        unknown: metrics that the files cannot determine.
        notes: what is odd about the files, though scored.
        official: the figures in the official evaluation's own structure, where that is another one.
    """

    benchmark: str
    metrics: dict[str, float]
    queries: int
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    official: dict[str, Any] = field(default_factory=dict)


def score_cirr(predictions: Sequence[Path], annotations: Path, gallery: Path | None = None) -> OfflineScore:
    """Score CIRR submission files (``.json``: recall, recall_subset or both) or one similarity (``.npy``, ``.npz``).

    Args:
        predictions: the files; a similarity is (Nq, Ng) and needs ``gallery``.
        annotations: ``cap.rc2.val.json``; a split without targets has no metrics.
        gallery: ``split.rc2.val.json``, whose order is that of the similarity's columns.

    Raises:
        DataError: a file is unreadable, does not fit the annotations, or has faults that would change the figures.
    """
    entries = read_annotations(annotations)
    order = None if gallery is None else GalleryOrder(gallery)
    if unlabelled := sum("target_hard" not in entry for entry in entries):
        raise DataError(
            f"{annotations}: {unlabelled} of {len(entries)} queries have no target_hard, so no metric exists; "
            "a test1 submission can be validated (--validate), val can be scored"
        )
    if all(path.suffix == ".json" for path in predictions):
        metrics = _score_submissions(predictions, entries, order.names if order else None)
    elif len(predictions) == 1 and order is not None:
        similarity = load_similarity(predictions[0], (len(entries), len(order.names)))
        metrics = cirr_metrics(
            similarity,
            order.indices([entry["reference"] for entry in entries]),
            order.indices([entry["target_hard"] for entry in entries]),
            np.stack([order.indices(entry["img_set"]["members"]) for entry in entries]),
        )
    else:
        raise DataError(
            f"{', '.join(map(str, predictions))}: expected submission .json files, or one .npy or .npz similarity "
            "together with its gallery order (--gallery split.rc2.val.json)"
        )
    unknown = [name for name in _cirr_names() if name not in metrics]
    return OfflineScore("cirr", metrics, len(entries), tuple(unknown))


def score_fashioniq(predictions: Sequence[Path], annotations: Sequence[Path], gallery: Sequence[Path]) -> OfflineScore:
    """Score FashionIQ similarities, one (Nq, Ng) array a category; averages run over the categories given.

    Args:
        predictions: one ``.npz`` with a key per category, or one array file per category.
        annotations: ``cap.{category}.val.json`` files.
        gallery: ``split.{category}.val.json`` files, whose order is that of the similarities' columns.
            A file's category is read from its name.

    Raises:
        DataError: a file is unreadable or does not fit, or the three groups are not of the same categories.
    """
    captions, splits = by_category(annotations), by_category(gallery)
    bundled = len(predictions) == 1 and predictions[0].suffix == ".npz" and _categories_of(predictions[0]) == []
    arrays = dict.fromkeys(captions, predictions[0]) if bundled else by_category(predictions)
    if not captions.keys() == splits.keys() == arrays.keys():
        raise DataError(
            f"categories differ: predictions {sorted(arrays)}, annotations {sorted(captions)}, gallery {sorted(splits)}"
        )
    ranks: dict[str, NDArray[np.int64]] = {}
    for category in sorted(captions):
        entries, order = read_json(captions[category]), GalleryOrder(splits[category])
        if not isinstance(entries, list) or not all("target" in entry for entry in entries):
            raise DataError(f"{captions[category]}: expected a list of entries with 'target' (the test split has none)")
        similarity = load_similarity(arrays[category], (len(entries), len(order.names)), category if bundled else None)
        ranks[category] = target_ranks(similarity, order.indices([entry["target"] for entry in entries]))
    return OfflineScore("fashioniq", fashioniq_summary(ranks), sum(map(len, ranks.values())))


def score_msrvtt(prediction: Path) -> OfflineScore:
    """Score an (N, N) text-video similarity, pair i on the diagonal; metrics as ``text_to_video/R1`` and so on."""
    similarity = load_similarity(prediction)
    nested = msrvtt_metrics(similarity)
    flat = {f"{direction}/{name}": value for direction, row in nested.items() for name, value in row.items()}
    return OfflineScore("msrvtt", flat, len(similarity))


def by_category(paths: Sequence[Path]) -> dict[str, Path]:
    """Each path under the FashionIQ category that its file name holds (``cap.dress.val.json`` -> ``dress``)."""
    found: dict[str, Path] = {}
    for path in paths:
        categories = _categories_of(path)
        if len(categories) != 1 or categories[0] in found:
            raise DataError(
                f"{path}: names {categories or 'no category'}; expected exactly one of "
                f"{', '.join(FASHIONIQ_CATEGORIES)}, each once, set apart by '.', '_' or '-'"
            )
        found[categories[0]] = path
    return found


def _categories_of(path: Path) -> list[str]:
    return [part for part in re.split(r"[._-]", path.name.lower()) if part in FASHIONIQ_CATEGORIES]


def _cirr_names() -> list[str]:
    recalls = [f"R@{k}" for k in CIRR_KS] + [f"R_s@{k}" for k in CIRR_SUBSET_KS]
    return recalls + list(recall_means(dict.fromkeys(recalls, 1.0)))


def _score_submissions(
    paths: Sequence[Path], entries: Sequence[Mapping[str, Any]], gallery: Sequence[str] | None
) -> dict[str, float]:
    """The recalls that the listed names determine; a target that is not listed ranks behind the list."""
    metrics: dict[str, float] = {}
    for path in paths:
        if faults := validate_submission(path, entries, gallery, exact_count=False):
            more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
            raise DataError(f"{path}: not scored, because of: " + "; ".join(faults[:5]) + more)
        submission, _ = read_submission(path)
        lists = [submission[str(entry["pairid"])] for entry in entries]
        subset = submission["metric"] == "recall_subset"
        prefix, ks = ("R_s@", CIRR_SUBSET_KS) if subset else ("R@", CIRR_KS)
        depth = min(map(len, lists))
        if any(name.startswith(prefix) for name in metrics):
            raise DataError(f"{path}: a second file of metric {submission['metric']!r}; expected one of each")
        places = [
            names.index(entry["target_hard"]) + 1 if entry["target_hard"] in names else len(names) + max(ks)
            for names, entry in zip(lists, entries, strict=True)
        ]
        known = [k for k in ks if k <= depth]
        metrics |= {f"{prefix}{k}": value for k, value in zip(known, recall_at(np.asarray(places), known), strict=True)}
    if len(metrics) == len(CIRR_KS) + len(CIRR_SUBSET_KS):
        metrics |= recall_means(metrics)
    elif {"R@5", "R_s@1"} <= metrics.keys():  # short lists still determine the selection criterion
        metrics["mean"] = (metrics["R@5"] + metrics["R_s@1"]) / 2
    return metrics
