"""Figures of single samples, whose means are the metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor, nn

from gatefuse_plugins.analysis.gates.evaluate import evaluate_outcomes
from gatefuse_plugins.analysis.gates.outcomes import balanced, outcomes_of
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation import CIRRMetric, FashionIQMetric, TVSumMetric
from gatefuse_plugins.hosts.avigate import MSRVTTMetric


def features_of(similarity: Tensor) -> list[dict[str, Tensor]]:
    """Predictions of composed retrieval with this similarity (queries, gallery)."""
    queries, gallery = similarity.shape
    return [
        {"image_features": similarity.T[:, None].contiguous(), "image_index": torch.arange(gallery)},
        {"query_features": torch.eye(queries), "query_index": torch.arange(queries)},
    ]


def random_similarity(queries: int, gallery: int) -> Tensor:
    return torch.randn(queries, gallery, generator=torch.Generator().manual_seed(0))


def test_composed_retrieval_on_cirr(tmp_path: Any) -> None:
    target, reference = np.arange(20), np.arange(20) + 20
    members = np.stack([target, reference, *((target + shift) % 20 for shift in (1, 2, 3, 4))], axis=1)
    metric = CIRRMetric(submission_dir=tmp_path / "submission")
    gallery = [f"image{number}" for number in range(40)]
    metric.dataset_meta = {
        "target": target,
        "reference": reference,
        "members": members,
        "gallery": gallery,
        "pairid": np.arange(100, 120),
    }
    metric.process({}, features_of(random_similarity(20, 40)))
    found = outcomes_of(metric, {})
    assert not (tmp_path / "submission").exists()
    assert (metric.keep_ranks, metric.ranks) == (False, {})
    assert found.ids == tuple(range(100, 120))
    assert found.groups == tuple(gallery[20:])
    metric.submission_dir = None
    official = metric.evaluate(size=60)
    for name in ("R@1", "R@5", "R@10", "R@50", "R_s@1", "R_s@2", "R_s@3"):
        assert found.figures[name].mean() == pytest.approx(official[f"cirr/{name}"])
    assert set(found.primary) < set(found.figures)


def test_composed_retrieval_on_fashioniq_weighs_categories_alike() -> None:
    metric = FashionIQMetric()
    category = np.array([0] * 15 + [1] * 5)
    metric.dataset_meta = {
        "target": np.array([*range(15), *range(30, 35)]),
        "reference": np.array([*range(15, 30), *range(35, 40)]),
        "category": category,
        "gallery_category": np.array([0] * 30 + [1] * 30),
        "categories": ("dress", "shirt"),
        "gallery": [f"image{number}" for number in range(60)],
    }
    metric.process({}, features_of(random_similarity(20, 60)))
    found = outcomes_of(metric, {})
    official = metric.evaluate(size=80)
    assert official["fashioniq/dress_R@10"] != official["fashioniq/shirt_R@10"]
    for name in ("R@10", "R@50"):
        assert found.figures[name].mean() == pytest.approx(official[f"fashioniq/{name}"])


def test_highlight_detection_weighs_domains_alike() -> None:
    random = np.random.default_rng(0)
    domains = ["BK", "BK", "BK", "VU"]
    metric = TVSumMetric()
    metric.dataset_meta = {
        "annotations": [
            {
                "qid": f"v{row}",
                "vid": f"v{row}",
                "query": "",
                "domain": domain,
                "label": random.integers(1, 6, (12, 20)),
            }
            for row, domain in enumerate(domains)
        ]
    }
    saliency = [torch.from_numpy(random.random(12)) for _ in domains]
    metric.process({}, [{"sample_index": torch.arange(4), "saliency": saliency}])
    found = outcomes_of(metric, {})
    assert found.unit == ""
    assert found.figures["mAP"].mean() == pytest.approx(metric.evaluate(size=4)["tvsum/mAP"])


def test_balanced_means_are_means_of_group_means() -> None:
    values = np.array([1.0, 2.0, 3.0, 10.0])
    assert balanced(values, ["a", "a", "a", "b"]).mean() == pytest.approx((2.0 + 10.0) / 2)


class Scorer(nn.Module):
    """Scores pairs by a table; stands for a text-video model."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def score(self, texts: Any, videos: Any, max_bytes: int) -> Tensor:
        return self.table


def text_video_metric(captions: list[int], videos: int) -> tuple[MSRVTTMetric, Scorer]:
    metric, scorer = MSRVTTMetric(), Scorer(random_similarity(len(captions), videos))
    metric.dataset_meta = {"target": captions, "gallery": [f"video{row}" for row in range(videos)]}
    encoded = {
        "frames": torch.zeros(videos, 2, 4),
        "mask": torch.ones(videos, 2, dtype=torch.bool),
        "audio": torch.zeros(videos, 2, 4),
        "has_audio": torch.ones(videos, dtype=torch.bool),
        "video_index": torch.arange(videos),
        "tokens": torch.zeros(len(captions), 1, 4),
        "text_mask": torch.ones(len(captions), 1, dtype=torch.bool),
        "text_index": torch.arange(len(captions)),
        "scorer": scorer,
    }
    metric.process({}, [encoded])
    return metric, scorer


@torch.no_grad()
def test_text_video_retrieval_in_both_directions() -> None:
    metric, scorer = text_video_metric([3, 0, 2, 1, 4, 5, 6, 7], 8)
    found = outcomes_of(metric, {"scorer": scorer})
    assert found.groups[:2] == ("video3", "video0")
    official = metric.evaluate(size=16)
    for name in ("t2v_R@1", "t2v_R@5", "t2v_R@10", "t2v_MeanR", "v2t_R@1", "v2t_R@5", "v2t_R@10"):
        assert found.figures[name].mean() == pytest.approx(official[f"msrvtt/{name}"])


@torch.no_grad()
def test_videos_of_several_texts_are_no_samples_of_their_own() -> None:
    metric, scorer = text_video_metric([0, 0, 1, 1], 2)
    found = outcomes_of(metric, {"scorer": scorer})
    assert set(found.figures) == {"t2v_R@1", "t2v_R@5", "t2v_R@10", "t2v_MeanR"}
    assert found.groups == ("video0", "video0", "video1", "video1")


class Unknown(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None: ...
    def compute_metrics(self, results: Any) -> dict[str, float]:
        return {}


def test_metrics_without_figures_of_samples_are_named() -> None:
    with pytest.raises(DataError, match="Unknown has no figures of single samples; expected QVHighlightsMetric"):
        outcomes_of(Unknown(), {})
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[Unknown()]))
    runner: Any = SimpleNamespace(test_loop=loop)
    with pytest.raises(DataError, match="test_evaluator is Unknown, which has no figures of single samples"):
        evaluate_outcomes(runner)
