from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from oracles import DATA, needs

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.highlights import highlight_ap, highlight_metrics
from gatefuse_plugins.evaluation.moment_retrieval import mean_top1_iou, moment_retrieval_metrics
from gatefuse_plugins.evaluation.moments import IOU_THRESHOLDS, interpolated_ap, match_windows
from gatefuse_plugins.evaluation.qvhighlights import metrics_by_kind, qvhighlights_metrics

RELEASED = DATA / "qvhighlights"


def lines(name: str):
    return [json.loads(line) for line in (RELEASED / name).read_text().splitlines()]


@needs(RELEASED)
def test_real_predictions_give_every_official_figure():
    official = json.loads((RELEASED / "qd_detr_onlyclip_val_metrics.json").read_text())
    annotations = lines("highlight_val_release.jsonl")
    got = qvhighlights_metrics(lines("qd_detr_onlyclip_val_preds.jsonl"), annotations)
    assert got == official
    assert list(got) == list(official) and list(got["brief"]) == list(official["brief"])


@needs(RELEASED)
def test_released_test_labels_can_be_scored():
    annotations = lines("highlight_test_with_gt.jsonl")
    truth = [
        {
            "qid": entry["qid"],
            "pred_relevant_windows": [[*window, 1.0] for window in entry["relevant_windows"]],
            "pred_saliency_scores": [float(clip in entry["relevant_clip_ids"]) for clip in range(75)],
        }
        for entry in annotations
    ]
    brief = qvhighlights_metrics(truth, annotations)["brief"]
    assert (len(annotations), brief["MR-full-R1@0.5"], brief["MR-full-R1@0.7"]) == (1542, 100.0, 100.0)
    # Queries with more than ten windows cannot be answered in full; each of the others has AP 1.
    lost = sum(1 - 10 / count for entry in annotations if (count := len(entry["relevant_windows"])) > 10)
    assert brief["MR-full-mAP"] == round(100 * (1 - lost / len(annotations)), 2)


def test_moment_figures_known_by_hand(predictions, annotations):
    got = moment_retrieval_metrics(predictions, annotations)
    # qid 7: precision 1 and 2/3 at its two hits, AP 5/6 at every threshold; qid 9: AP 1 up to 0.65, then 0.
    assert list(got) == ["short", "middle", "full"]  # no window is longer than 30 s
    assert got["full"]["MR-mAP"] == dict.fromkeys(["0.5", "0.55", "0.6", "0.65"], 91.67) | dict.fromkeys(
        ["0.7", "0.75", "0.8", "0.85", "0.9", "0.95"], 41.67
    ) | {"average": 61.67}
    assert (got["full"]["MR-R1"]["0.65"], got["full"]["MR-R1"]["0.7"]) == (100.0, 50.0)
    assert (got["short"]["MR-mAP"]["average"], got["middle"]["MR-mAP"]["average"]) == (83.33, 40.0)
    assert mean_top1_iou(predictions, annotations) == 83.33


def test_highlight_figures_known_by_hand(predictions, annotations):
    assert highlight_metrics(predictions, annotations) == {
        "HL-min-Fair": {"HL-mAP": 91.67, "HL-Hit1": 100.0},
        "HL-min-Good": {"HL-mAP": 50.0, "HL-Hit1": 100.0},
        "HL-min-VeryGood": {"HL-mAP": 41.67, "HL-Hit1": 100.0},
    }
    predictions[0]["pred_saliency_scores"] = [1.0, 2.0, 3.0]  # clips without score count 0
    predictions[1]["pred_saliency_scores"] += [99.0]  # past the last clip: no hit, and cut for the precision
    got = highlight_metrics(predictions, annotations)
    assert got["HL-min-Good"] == {"HL-mAP": 75.0, "HL-Hit1": 50.0}
    # 1.0 for each annotator of qid 9's clip 2, and of its clip 3 in [2, 0, 2]: the eight clips that tie at 0 hold it
    assert got["HL-min-Fair"]["HL-mAP"] == round(100 * (3 + (1 + 0.2) / 2 + 1 + (1 + 0.2) / 2) / 6, 2)


def test_a_long_video_does_not_pad_the_others(predictions, annotations):
    alone = highlight_metrics(predictions[1:], annotations[:1])
    annotations[1] |= {"duration": 2_000_000, "relevant_clip_ids": [0, 999_999], "saliency_scores": [[4] * 3] * 2}
    predictions[0]["pred_saliency_scores"] = [1.0]
    copies = [annotations[0] | {"qid": qid} for qid in range(100, 200)]
    answers = [predictions[1] | {"qid": qid} for qid in range(100, 200)]
    tracemalloc.start()
    got = highlight_metrics([*answers, predictions[0]], [*copies, annotations[1]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e9  # (levels x annotators, queries, clips) in one block would take 7 GB
    # 1 at the scored clip; then the 999,999 clips at 0 hold the other: precision 2e-6, and 1 interpolated at the first
    expected = (100 * alone["HL-min-Good"]["HL-mAP"] / 100 + 0.5) / 101
    assert got["HL-min-Good"]["HL-mAP"] == pytest.approx(100 * expected, abs=0.02)
    assert got["HL-min-Good"]["HL-Hit1"] == 100.0


def test_kinds_are_scored_apart(predictions, annotations):
    annotations[0]["query_kind"], annotations[1]["query_kind"] = "sound", "sight"
    got = metrics_by_kind(predictions, annotations)
    assert list(got) == ["sound", "sight"]
    assert (got["sound"]["brief"]["MR-full-mAP"], got["sight"]["brief"]["MR-full-mAP"]) == (83.33, 40.0)
    assert got["sight"] == qvhighlights_metrics(predictions[:1], annotations[1:])
    del annotations[1]["query_kind"]
    with pytest.raises(DataError, match="1 of 2 annotations have no query_kind .first: qid 9."):
        metrics_by_kind(predictions, annotations)


def test_either_kind_of_prediction_may_be_absent_from_all(predictions, annotations):
    for entry in predictions:
        del entry["pred_saliency_scores"]
    assert "HL-min-Fair" not in qvhighlights_metrics(predictions, annotations)
    del predictions[1]["pred_relevant_windows"]
    with pytest.raises(DataError, match="1 of 2 predictions have no pred_relevant_windows"):
        qvhighlights_metrics(predictions, annotations)
    del predictions[0]["pred_relevant_windows"]
    with pytest.raises(DataError, match="nothing to score"):
        qvhighlights_metrics(predictions, annotations)


def test_a_query_without_windows_is_a_miss(predictions, annotations):
    predictions[0]["pred_relevant_windows"] = []
    full = moment_retrieval_metrics(predictions, annotations)["full"]
    assert (full["MR-mAP"]["0.5"], full["MR-R1"]["0.5"]) == (41.67, 50.0)


def test_only_ten_windows_count_and_recall_takes_the_first_listed(predictions, annotations):
    found = predictions[0]["pred_relevant_windows"][0]
    predictions[0]["pred_relevant_windows"] = [[0.0, 1.0, 0.1]] * 9 + [found]
    assert moment_retrieval_metrics(predictions, annotations)["middle"]["MR-mAP"]["0.5"] == 100.0
    assert moment_retrieval_metrics(predictions, annotations)["middle"]["MR-R1"]["0.5"] == 0.0
    predictions[0]["pred_relevant_windows"].insert(0, [0.0, 1.0, 0.1])
    assert moment_retrieval_metrics(predictions, annotations)["middle"]["MR-mAP"]["0.5"] == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, a: p.pop(), r"1 of 2 queries have no prediction \(qid 7\)"),
        (lambda p, a: p.append(p[0]), "1 predictions repeat a qid"),
        (lambda p, a: p.append(p[0] | {"qid": 8}), r"1 predictions are of unknown queries \(qid 8\)"),
        (lambda p, a: a.append(a[0]), "1 annotations repeat a qid"),
        (lambda p, a: a[1].update(relevant_windows=[]), r"1 queries have no relevant_windows \(qid 9\)"),
        (lambda p, a: p[1].update(pred_relevant_windows=[[0, 8]]), "has 2 entries, expected 3"),
        (lambda p, a: p[1].update(pred_relevant_windows=[0, 8, 1]), "expected lists of 3 numbers"),
        (lambda p, a: p[1].update(pred_saliency_scores=[]), "of qid 7 is empty"),
        (lambda p, a: p[1].update(pred_saliency_scores=["x"]), "expected numbers"),
        (lambda p, a: p[0].update(pred_saliency_scores=[float("nan")]), "of qid 9 hold NaN or infinity"),
        (lambda p, a: a[0].update(relevant_clip_ids=[1]), "qid 7: 8 saliency_scores for 1 relevant_clip_ids"),
        (lambda p, a: a[1].update(relevant_clip_ids=[2, 10]), "qid 9: relevant clip 10 is outside its 10 clips"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_reason(predictions, annotations, change, message):
    change(predictions, annotations)
    with pytest.raises(DataError, match=message):
        qvhighlights_metrics(predictions, annotations)


def test_matching_equals_one_query_and_threshold_after_the_other():
    generator = np.random.default_rng(0)
    iou = generator.integers(0, 21, (60, 6, 4)) / 20  # ties, and windows that overlap several others
    hits = match_windows(iou, np.asarray(IOU_THRESHOLDS))
    for query, place in np.ndindex(60, len(IOU_THRESHOLDS)):
        free = set(range(4))
        for rank in range(6):
            best = max(free, key=lambda window: (iou[query, rank, window], window), default=None)
            taken = best is not None and iou[query, rank, best] >= IOU_THRESHOLDS[place]
            assert hits[query, rank, place] == taken
            free -= {best} if taken else set()
    assert 0 < hits.mean() < 1


def test_precision_is_the_highest_at_any_later_rank():
    hits = np.array([[[False], [True], [True], [False]]])
    # precision 0, 1/2, 2/3: both hits count 2/3; one of three windows is never found
    assert interpolated_ap(hits, np.array([3])) == pytest.approx(np.array([[4 / 9]]))


def test_highlight_ap_equals_a_loop_over_thresholds():
    generator = np.random.default_rng(1)
    scores, mask = generator.integers(0, 5, (40, 9)).astype(float), np.arange(9) < generator.integers(1, 10, (40, 1))
    labels = (generator.random((2, 40, 9)) < 0.3) & mask
    got = highlight_ap(scores, labels, mask)
    for kind, query in np.ndindex(2, 40):
        valid, positive = mask[query], labels[kind, query]
        steps = []  # precision of each threshold, lowest first, where it adds a positive
        reached = 0.0
        for threshold in np.unique(scores[query, valid]):
            chosen = valid & (scores[query] >= threshold)
            reached = max(reached, positive[chosen].mean())
            if positive[valid & (scores[query] == threshold)].any():
                steps.append(reached)
        assert got[kind, query] == pytest.approx(np.mean(steps) if steps else 0.0)
    assert len(np.unique(got)) > 10
