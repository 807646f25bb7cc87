from __future__ import annotations

import json

import numpy as np
import pytest
from oracles import DATA, FOLDER, needs

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.tvsum import top_ap, tvsum_metrics


@needs(FOLDER)
@needs(DATA)
def test_seeded_scores_give_upstreams_figures():
    oracle = json.loads((FOLDER / "tvsum_metrics.json").read_text())
    text = (DATA / "tvsum" / "tvsum_val.jsonl").read_text()
    annotations = [json.loads(line) for line in text.splitlines()]
    generator = np.random.default_rng(oracle["seed"])
    predictions = []
    for entry in annotations:
        mean = np.asarray(entry["label"]).mean(axis=1)
        scores = (0.5 * mean + generator.standard_normal(len(mean))).astype(np.float32)
        predictions.append({"qid": entry["qid"], "pred_saliency_scores": scores})
    expected = {f"{domain}_mAP": value for domain, value in oracle["mAP"].items()} | {"mAP": oracle["average"]}
    assert tvsum_metrics(predictions, annotations) == pytest.approx(expected, rel=1e-12)


def test_top_ap_of_two_annotators_known_by_hand():
    # lower medians 2 and 1; in the order of the scores annotator 0 has 1 0 1, annotator 1 nothing above its median
    label = [[3, 1], [2, 1], [5, 1], [1, 1]]
    assert top_ap([4.0, 3.0, 2.0, 1.0, 99.0], label, top=3) == pytest.approx([0.5 * 1 + 0.5 * (1 / 2 + 2 / 3) / 2, 0])
    assert top_ap([0.0, 0.0, 0.0, 0.0], label, top=1) == pytest.approx([1, 0])  # ties stay in the order of the clips


def test_domains_are_averaged():
    label = [[2, 2], [1, 1]]
    annotations = [{"qid": name, "domain": domain, "label": label} for name, domain in zip("abc", "XXY", strict=True)]
    for entry in annotations:
        entry["domain"] = {"X": "BK", "Y": "VU"}[entry["domain"]]
    scores = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 0.0]}
    predictions = [{"qid": name, "pred_saliency_scores": row} for name, row in scores.items()]
    # b ranks its one positive second: (0 + 1/2) / 2
    assert tvsum_metrics(predictions, annotations) == {"BK_mAP": 0.625, "VU_mAP": 1.0, "mAP": 0.8125}


@pytest.mark.parametrize(
    ("prediction", "annotation", "message"),
    [
        ({}, {"domain": "BX"}, "qid 'a': unknown domain 'BX'; did you mean 'BT' or 'BK'"),
        ({}, {"label": None}, "hold no 'label'"),
        ({"pred_saliency_scores": [1.0]}, {}, r"qid 'a': pred_saliency_scores of shape \(1,\)"),
        ({"pred_saliency_scores": [1.0, float("inf")]}, {}, "qid 'a': pred_saliency_scores hold NaN or infinity"),
        ({"qid": "b"}, {}, "1 of 1 queries have no prediction"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_reason(prediction, annotation, message):
    predictions = [{"qid": "a", "pred_saliency_scores": [1.0, 0.0]} | prediction]
    annotations = [{"qid": "a", "domain": "BK", "label": [[1], [2]]} | annotation]
    with pytest.raises(DataError, match=message):
        tvsum_metrics(predictions, annotations)
