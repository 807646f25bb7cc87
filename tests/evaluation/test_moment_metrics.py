from __future__ import annotations

import numpy as np
import pytest
import torch

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.moment_metrics import QVHighlightsMetric
from gatefuse_plugins.evaluation.moment_offline import score_qvhighlights
from gatefuse_plugins.evaluation.moment_submission import write_submission_lines
from gatefuse_plugins.evaluation.qvhighlights import qvhighlights_metrics
from gatefuse_plugins.registry import METRICS


def feed(metric, predictions, annotations, order):
    """The predictions as a host's ``predict`` gives them, one batch a query."""
    by_qid = {entry["qid"]: entry for entry in predictions}
    for row in order:
        entry = by_qid[annotations[row]["qid"]]
        batch = {"sample_index": torch.tensor([row]), "saliency": [torch.tensor(entry["pred_saliency_scores"])]}
        if "pred_relevant_windows" in entry:
            batch["windows"] = [np.asarray(entry["pred_relevant_windows"], np.float32)]
        metric.process({}, [batch])


def test_metric_scores_shuffled_and_repeated_samples(predictions, annotations):
    metric = METRICS.build({"type": "QVHighlightsMetric"})
    metric.dataset_meta = {"annotations": annotations, "clip_length": 2}
    feed(metric, predictions, annotations, order=[1, 0, 1])
    brief = qvhighlights_metrics(predictions, annotations)["brief"]
    expected = {f"qvhighlights/{name}": value for name, value in brief.items()} | {"qvhighlights/MR-full-mIoU": 83.33}
    assert metric.evaluate(size=3) == expected


def test_kinds_are_reported_apart(predictions, annotations):
    annotations[0]["query_kind"], annotations[1]["query_kind"] = "sound", "sight"
    metric = QVHighlightsMetric()
    metric.dataset_meta = {"annotations": annotations, "clip_length": 2}
    feed(metric, predictions, annotations, order=[0, 1])
    got = {name: value for name, value in metric.evaluate(size=2).items() if name.count("/") == 2}
    assert got == {
        "qvhighlights/sound/MR-full-R1@0.5": 100.0,
        "qvhighlights/sound/MR-full-R1@0.7": 100.0,
        "qvhighlights/sound/MR-full-mAP": 83.33,
        "qvhighlights/sound/HL-min-VeryGood-mAP": 33.33,
        "qvhighlights/sound/HL-min-VeryGood-Hit1": 100.0,
        "qvhighlights/sight/MR-full-R1@0.5": 100.0,
        "qvhighlights/sight/MR-full-R1@0.7": 0.0,
        "qvhighlights/sight/MR-full-mAP": 40.0,
        "qvhighlights/sight/HL-min-VeryGood-mAP": 50.0,
        "qvhighlights/sight/HL-min-VeryGood-Hit1": 100.0,
    }


def test_the_submission_scores_as_the_metric_does(predictions, annotations, tmp_path):
    metric = QVHighlightsMetric(submission_file=tmp_path / "p.jsonl", half_saliency=True)
    metric.dataset_meta = {"annotations": annotations, "clip_length": 2}
    predictions[0]["pred_saliency_scores"][2] += 1e-4  # the tie of float16 comes back
    feed(metric, predictions, annotations, order=[0, 1])
    got = metric.evaluate(size=2)
    write_submission_lines(tmp_path / "a.jsonl", annotations)
    score = score_qvhighlights(tmp_path / "p.jsonl", tmp_path / "a.jsonl")
    assert got == {f"qvhighlights/{name}": value for name, value in score.metrics.items()}
    assert got["qvhighlights/HL-min-VeryGood-mAP"] == 41.67
    metric = QVHighlightsMetric()
    metric.dataset_meta = {"annotations": annotations, "clip_length": 2}
    feed(metric, predictions, annotations, order=[0, 1])
    assert metric.evaluate(size=2)["qvhighlights/HL-min-VeryGood-mAP"] == 66.67


def test_unlabelled_split_writes_a_submission_or_says_so(predictions, annotations, tmp_path):
    bare = [{key: entry[key] for key in ("qid", "query", "vid", "duration")} for entry in annotations]
    metric = QVHighlightsMetric(submission_file=tmp_path / "p.jsonl")
    metric.dataset_meta = {"annotations": bare, "clip_length": 2}
    feed(metric, predictions, bare, order=[0, 1])
    assert metric.evaluate(size=2) == {}
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 2
    metric = QVHighlightsMetric()
    metric.dataset_meta = {"annotations": bare, "clip_length": 2}
    feed(metric, predictions, bare, order=[0, 1])
    with pytest.raises(DataError, match="set submission_file of QVHighlightsMetric"):
        metric.evaluate(size=2)


def test_missing_strange_and_broken_predictions_are_named(predictions, annotations):
    def evaluate(order, meta=None):
        metric = QVHighlightsMetric()
        metric.dataset_meta = {"annotations": annotations, "clip_length": 2} if meta is None else meta
        feed(metric, predictions, annotations, order)
        metric.evaluate(size=2)

    with pytest.raises(DataError, match=r"1 of 2 predictions never arrived \(qid 9\)"):
        evaluate([0])
    with pytest.raises(DataError, match="sample_index 1 is outside the 1 annotations"):
        evaluate([0, 1], {"annotations": annotations[:1], "clip_length": 2})
    with pytest.raises(DataError, match="needs 'annotations' in the dataset's metainfo"):
        evaluate([0, 1], {})
    predictions[0]["pred_saliency_scores"][0] = float("nan")
    with pytest.raises(DataError, match="qid 9: predicted saliency holds NaN"):
        evaluate([0, 1])
    metric = QVHighlightsMetric()
    with pytest.raises(DataError, match="lacks saliency"):
        metric.process({}, [{"sample_index": torch.tensor([0])}])
    with pytest.raises(DataError, match="holds 1 saliency for 2 sample_index"):
        metric.process({}, [{"sample_index": torch.tensor([0, 1]), "saliency": [np.ones(3)]}])


def test_tvsum_metric():
    metric = METRICS.build({"type": "TVSumMetric"})
    common = {"query": "q", "vid": "v", "duration": 2, "label": [[2, 2], [1, 1]]}
    metric.dataset_meta = {
        "annotations": [common | {"qid": "a", "domain": "BK"}, common | {"qid": "b", "domain": "VU"}]
    }
    saliency = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.bfloat16)
    metric.process({}, [{"sample_index": torch.tensor([0, 1]), "saliency": list(saliency)}])
    assert metric.evaluate(size=2) == {"tvsum/BK_mAP": 1.0, "tvsum/VU_mAP": 0.25, "tvsum/mAP": 0.625}
