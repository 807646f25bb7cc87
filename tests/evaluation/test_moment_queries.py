"""Figures of single queries, whose means are the official figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.moment_queries import query_figures, top_figures
from gatefuse_plugins.evaluation.moment_retrieval import mean_top1_iou
from gatefuse_plugins.evaluation.qvhighlights import qvhighlights_metrics
from gatefuse_plugins.evaluation.tvsum import tvsum_metrics


def test_queries_known_by_hand(predictions: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    figures = query_figures(predictions, annotations)
    assert figures["MR-full-R1@0.7"].tolist() == [100.0, 0.0]  # qid 9 meets its window with IoU 2/3
    assert figures["MR-full-R1@0.5"].tolist() == [100.0, 100.0]
    assert figures["MR-full-mIoU"].tolist() == pytest.approx([100.0, 200 / 3])
    assert figures["MR-full-mAP"].tolist() == pytest.approx([100 * (1 + 2 / 3) / 2, 40.0])  # 0.5 ... 0.65 of ten


def random_queries(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Windows and saliency with ties, ground truth of one to three windows, lengths of 5 to 30 clips."""
    random = np.random.default_rng(0)
    annotations, predictions = [], []
    for qid in range(count):
        clips = int(random.integers(5, 31))
        starts = np.sort(random.choice(clips, size=random.integers(1, 4), replace=False))
        truth = [[2.0 * start, 2.0 * start + 4] for start in starts.tolist()]
        marked = np.sort(random.choice(clips, size=4, replace=False)).tolist()
        annotations.append(
            {
                "qid": qid,
                "duration": 2 * clips,
                "relevant_windows": truth,
                "relevant_clip_ids": marked,
                "saliency_scores": random.integers(0, 5, (4, 3)).tolist(),
            }
        )
        start = random.random((int(random.integers(1, 13)), 1)) * 2 * clips
        windows = np.hstack([start, start + 4, random.random(start.shape).round(1)])
        if qid % 3 == 0:
            windows[0, :2] = truth[0]
        saliency = random.random(clips).round(1).tolist()
        predictions.append({"qid": qid, "pred_relevant_windows": windows.tolist(), "pred_saliency_scores": saliency})
    return predictions[::-1], annotations


def test_means_are_the_official_figures() -> None:
    predictions, annotations = random_queries(60)
    figures, brief = query_figures(predictions, annotations), qvhighlights_metrics(predictions, annotations)["brief"]
    assert len(figures) == 10
    for name, values in figures.items():
        official = mean_top1_iou(predictions, annotations) if name == "MR-full-mIoU" else brief[name]
        assert values.shape == (60,)
        assert values.mean() == pytest.approx(official, abs=0.00501)


def test_what_is_not_predicted_or_labelled_has_no_figure(
    predictions: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> None:
    for entry in predictions:
        del entry["pred_relevant_windows"]
    assert {name[:2] for name in query_figures(predictions, annotations)} == {"HL"}
    for entry in annotations:
        del entry["saliency_scores"]
    assert query_figures(predictions, annotations) == {}
    with pytest.raises(DataError, match="1 of 2 queries have no prediction"):
        query_figures(predictions[:1], annotations)


def test_empty_saliency_is_named(predictions: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    predictions[0]["pred_saliency_scores"] = []
    with pytest.raises(DataError, match="pred_saliency_scores of qid 9 is empty"):
        query_figures(predictions, annotations)


def test_videos_of_tvsum() -> None:
    common = {"label": [[2, 2], [1, 1]], "domain": "BK"}
    annotations = [common | {"qid": "a"}, common | {"qid": "b"}]
    predictions = [{"qid": "b", "pred_saliency_scores": [0, 1]}, {"qid": "a", "pred_saliency_scores": [1, 0]}]
    figures = top_figures(predictions, annotations)
    assert figures.tolist() == [1.0, 0.25]
    assert figures.mean() == tvsum_metrics(predictions, annotations)["mAP"]
