"""Order, ties, bounds and candidates of a search, on vectors made by hand."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from galleries import DIM, fake_faiss, toy_host, toy_index, toy_query
from torch import nn

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork
from gatefuse_plugins.retrieval import GalleryIndex, GallerySearcher, kind_of


class PictureHost(ComposedRetrievalNetwork):
    """Of the network only its type matters to the similarity of pictures."""

    def __init__(self) -> None:
        nn.Module.__init__(self)


def brute_force(index: GalleryIndex, model: nn.Module, query: torch.Tensor) -> np.ndarray:
    """Every item's similarity, from its formula, one item at a time."""
    vectors, scores = index.vectors, []
    for start, stop in pairwise(vectors.offsets):
        cosines = vectors.vectors[start:stop].astype(np.float64) @ query[0].double().numpy()
        if index.header["kind"] == "image":
            scores.append(cosines.max())
            continue
        scale = model.scale.item()
        pooled = vectors.pooled[len(scores)].astype(np.float64) @ query[0].double().numpy()
        scores.append((np.log(np.exp(scale * cosines).sum()) + scale * pooled) / 2)
    return np.array(scores)


def host_of(kind: str) -> nn.Module:
    return toy_host() if kind == "video" else PictureHost()


@pytest.mark.parametrize("kind", ["video", "image"])
@pytest.mark.parametrize("chunk_numbers", [1, 7 * DIM, 1 << 24])
def test_exact_search_is_the_formula_and_ties_keep_the_gallery_order(
    tmp_path: Path, kind: str, chunk_numbers: int
) -> None:
    index, model, query = toy_index(tmp_path / "i", kind), host_of(kind), toy_query()
    scores = brute_force(index, model, query)
    assert scores[2] == scores[7]
    hits = GallerySearcher(index, model, chunk_numbers=chunk_numbers).search(query, k=30)
    assert [hit.rank for hit in hits] == list(range(1, 31))
    assert [hit.name for hit in hits] == [f"item{row}" for row in np.argsort(-scores, kind="stable")]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1], rtol=1e-5, atol=1e-5)


def test_k_and_the_excluded_item(tmp_path: Path) -> None:
    searcher, query = GallerySearcher(toy_index(tmp_path / "i"), toy_host()), toy_query()
    everything = [hit.name for hit in searcher.search(query, k=100)]
    assert len(everything) == 30
    assert [hit.name for hit in searcher.search(query, k=3)] == everything[:3]
    best = int(everything[0].removeprefix("item"))
    assert [hit.name for hit in searcher.search(query, k=3, exclude=best)] == everything[1:4]
    with pytest.raises(ConfigError, match="k: 0, expected at least 1"):
        searcher.search(query, k=0)


def test_queries_that_do_not_fit(tmp_path: Path) -> None:
    searcher = GallerySearcher(toy_index(tmp_path / "i"), toy_host())
    with pytest.raises(DataError, match=r"shape \(1, 5\), expected \(1, 4\)"):
        searcher.search(torch.zeros(1, 5))
    with pytest.raises(DataError, match="a score is NaN"):
        searcher.search(torch.full((1, DIM), float("nan")))


@pytest.mark.parametrize("kind", ["video", "image"])
def test_faiss_candidates_are_scored_exactly(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", fake_faiss())
    index, model = toy_index(tmp_path / "i", kind), host_of(kind)
    exact, few = GallerySearcher(index, model), GallerySearcher(index, model, "faiss", candidates=1)
    everything = GallerySearcher(index, model, "faiss", candidates=30)
    for seed in range(20):
        query = toy_query(seed)
        wanted = [(hit.name, round(hit.score, 4)) for hit in exact.search(query, k=30)]
        assert [(hit.name, round(hit.score, 4)) for hit in everything.search(query, k=30)] == wanted
        found = [(hit.name, round(hit.score, 4)) for hit in few.search(query, k=4)]
        assert set(found) <= set(wanted) and found == sorted(found, key=wanted.index)
        if kind == "image":  # the best token decides alone, so nothing can be missed
            assert found == wanted[:4]


def test_backends_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = toy_index(tmp_path / "i")
    monkeypatch.setitem(sys.modules, "faiss", None)  # as if it were not installed
    with pytest.raises(ConfigError, match="faiss is not installed; pip install faiss-cpu, or use backend='exact'"):
        GallerySearcher(index, toy_host(), "faiss")
    with pytest.raises(ConfigError, match="did you mean 'faiss'"):
        GallerySearcher(index, toy_host(), "faisss")
    with pytest.raises(ConfigError, match="candidates: 0"):
        GallerySearcher(index, toy_host(), candidates=0)


def test_models_without_an_index(tmp_path: Path) -> None:
    for options in ({"query_gate": "scalar"}, {"text_gates": True}):
        with pytest.raises(ConfigError, match=r"cannot be indexed.*two_stage_scores"):
            kind_of(toy_host(**options))
    with pytest.raises(ConfigError, match="a Linear has no gallery to index; expected AVIGATE"):
        kind_of(nn.Linear(1, 1))
    with pytest.raises(ConfigError, match="indexes images, but the model finds videos"):
        GallerySearcher(toy_index(tmp_path / "i", "image"), toy_host())
