from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.metrics import CIRRMetric, FashionIQMetric
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.registry import METRICS


def feed(metric, similarity, order=None):
    """Features whose similarity is the given one: the query is a unit vector, token 1 carries its scores."""
    queries, gallery = similarity.shape
    tokens = torch.full((gallery, 3, queries), -100.0)
    tokens[:, 1] = torch.from_numpy(np.ascontiguousarray(similarity.T))
    order = torch.arange(gallery) if order is None else order
    for part in order.split(3):
        metric.process({}, [{"image_features": tokens[part], "image_index": part}])
    metric.process({}, [{"query_features": torch.eye(queries), "query_index": torch.arange(queries)}])


def cirr_meta(small, **changes):
    fields = ("reference", "target", "members", "pairid", "gallery")
    return {name: getattr(small, name) for name in fields} | changes


@pytest.mark.parametrize("chunk", [1, 700, 1 << 24])
def test_max_token_similarity_equals_the_dense_product(chunk):
    generator = torch.Generator().manual_seed(0)
    query, target = torch.randn(7, 5, generator=generator), torch.randn(11, 3, 5, generator=generator)
    expected = torch.einsum("me,nqe->mnq", query, target).amax(2)
    torch.testing.assert_close(max_token_similarity(query, target, chunk), expected)


def test_max_token_similarity_refuses_other_widths():
    with pytest.raises(DataError, match="do not fit"):
        max_token_similarity(torch.ones(2, 4), torch.ones(3, 2, 5))


def test_cirr_metric_assembles_shuffled_and_repeated_batches(small):
    metric = METRICS.build({"type": "CIRRMetric", "keep_ranks": True})
    metric.dataset_meta = cirr_meta(small)
    feed(metric, small.similarity, order=torch.tensor([7, 0, 3, 3, 1, 2, 6, 5, 4]))
    metrics = metric.evaluate(size=10)
    assert metrics["cirr/R@1"] == 0 and metrics["cirr/mean"] == 75
    assert metric.ranks["rank"].tolist() == [3, 2] and metric.ranks["subset_rank"].tolist() == [2, 1]


def test_missing_gallery_rows_and_queries_are_reported(small):
    metric = CIRRMetric()
    metric.dataset_meta = cirr_meta(small)
    feed(metric, small.similarity, order=torch.tensor([0, 1, 2, 4, 5, 7]))
    with pytest.raises(DataError, match=r"2 of 8 gallery image features never arrived \(first missing: \[3, 6\]\)"):
        metric.evaluate(size=10)
    metric = CIRRMetric()
    metric.dataset_meta = cirr_meta(small)
    metric.process({}, [{"image_features": torch.ones(8, 3, 2), "image_index": torch.arange(8)}])
    with pytest.raises(DataError, match="2 of 2 query features never arrived"):
        metric.evaluate(size=10)


def test_unknown_targets_write_a_submission_or_say_so(small, tmp_path):
    meta = cirr_meta(small, target=np.array([-1, -1]))
    metric = CIRRMetric(submission_dir=tmp_path)
    metric.dataset_meta = meta
    feed(metric, small.similarity)
    assert metric.evaluate(size=10) == {}
    assert json.loads((tmp_path / "recall_subset.json").read_text())["34"] == ["img3", "img7", "img6"]
    metric = CIRRMetric()
    metric.dataset_meta = meta
    feed(metric, small.similarity)
    with pytest.raises(DataError, match="set submission_dir"):
        metric.evaluate(size=10)


def test_fashioniq_metric_ranks_each_category_apart():
    similarity = np.zeros((2, 24), np.float32)
    similarity[0, [2, 20]] = 1, 5
    similarity[1, 12:24] = 2
    metric = FashionIQMetric(keep_ranks=True)
    metric.dataset_meta = {
        "gallery": [f"i{n}" for n in range(24)],
        "reference": np.array([0, 13]),
        "target": np.array([2, 12]),
        "category": np.array([0, 1]),
        "gallery_category": np.repeat([0, 1], 12),
        "categories": ("dress", "shirt"),
    }
    feed(metric, similarity)
    metrics = metric.evaluate(size=26)
    assert metric.ranks["rank"].tolist() == [1, 12]
    assert (metrics["fashioniq/dress_R@10"], metrics["fashioniq/shirt_R@10"], metrics["fashioniq/R@10"]) == (100, 0, 50)


def test_metainfo_that_lacks_a_field_is_named(small):
    metric = CIRRMetric()
    metric.dataset_meta = {"gallery": small.gallery}
    feed(metric, small.similarity)
    with pytest.raises(DataError, match="needs 'reference' in the dataset's metainfo"):
        metric.evaluate(size=10)
