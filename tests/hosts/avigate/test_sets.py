"""Whole sets: joined in any order, ranked by the metric, tested for leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_avigate import tiny_avigate, tiny_batch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.evaluation.recall import target_ranks
from gatefuse_plugins.evaluation.video import video_summary, video_to_text_ranks
from gatefuse_plugins.hosts.avigate import (
    AVIGATE,
    EncodedTexts,
    EncodedVideos,
    MSRVTTMetric,
    encode_set,
    find_leaks,
    join_predictions,
    score_all_pairs,
)
from gatefuse_plugins.hosts.avigate.similarity import all_pairs_similarity, text_vectors, video_vectors

VIDEOS, TEXTS = 8, 10
TARGET = np.array([3, 0, 1, 2, 4, 5, 6, 7, 7, 0])


class Clips:
    """Role ``eval`` of a data set of random features."""

    def __init__(self) -> None:
        self.metainfo = {"gallery": [str(i) for i in range(VIDEOS)], "captions": ["x"] * TEXTS, "target": TARGET}
        videos, texts = tiny_batch(1, VIDEOS), tiny_batch(2, TEXTS, tokens=2)
        self.videos = {name: videos[name] for name in ("video", "video_mask", "audio", "audio_mask")}
        self.texts = {name: texts[name] for name in ("text", "text_mask")}

    def batch(self, videos: list[int], texts: list[int]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        if videos:
            found |= {name: value[videos] for name, value in self.videos.items()}
            found["video_index"] = torch.tensor(videos)
        if texts:
            found |= {name: value[texts] for name, value in self.texts.items()}
            found["text_index"] = torch.tensor(texts)
        return found


class Loader:
    """Batches of videos, of both and of texts, out of order, one row of each twice."""

    dataset = Clips()

    def __iter__(self):
        yield self.dataset.batch([5, 1, 7, 0], [])
        yield self.dataset.batch([2, 3, 4, 6], [9, 0, 1])
        yield self.dataset.batch([2], [2, 3, 4, 5, 6, 7, 8, 9])


def predictions(model: AVIGATE) -> list[dict[str, Any]]:
    with torch.no_grad():
        return [one for batch in Loader() for one in model.eval()(mode="predict", **batch)]


def whole_scores(model: AVIGATE) -> np.ndarray:
    everything = Clips().batch(list(range(VIDEOS)), list(range(TEXTS)))
    with torch.no_grad():
        videos = model.encode_videos(*(everything[name] for name in ("video", "video_mask", "audio", "audio_mask")))
        return score_all_pairs(model, model.encode_texts(everything["text"], everything["text_mask"]), videos).numpy()


@pytest.mark.parametrize("options", [{}, {"query_gate": "scalar"}], ids=str)
@pytest.mark.parametrize("rerank", [None, VIDEOS + TEXTS])
def test_the_metric_ranks_what_one_pass_over_all_pairs_gives(options: dict, rerank: int | None) -> None:
    model = tiny_avigate(**options)
    metric = MSRVTTMetric(rerank=rerank)
    metric.dataset_meta = Clips().metainfo
    for one in predictions(model):
        metric.process({}, [one])
    found = metric.evaluate(VIDEOS + TEXTS)
    scores = whole_scores(model)
    expected = video_summary(target_ranks(scores, TARGET), video_to_text_ranks(scores, TARGET))
    assert found == {f"msrvtt/{name}": pytest.approx(value) for name, value in expected.items()}


def test_sets_are_joined_by_index_and_gaps_are_named() -> None:
    model = tiny_avigate()
    texts, videos = encode_set(model.train(), Loader())
    assert model.training and (len(texts), len(videos)) == (TEXTS, VIDEOS)
    torch.testing.assert_close(model.score(texts, videos), torch.from_numpy(whole_scores(model)))
    parts = predictions(model)
    with pytest.raises(DataError, match=r"4 of 8 videos never arrived \(first missing: \[0, 1, 5, 7\]\)"):
        join_predictions(parts[1:], TEXTS, VIDEOS)
    with pytest.raises(DataError, match=r"text_index spans 0\.\.9, expected 0\.\.3"):
        join_predictions(parts, 4, VIDEOS)


class LeakyAVIGATE(AVIGATE):
    """Fuses each video with its own caption before it compares it with all texts."""

    def score(self, texts: EncodedTexts, videos: EncodedVideos, max_bytes: int = 1 << 20) -> Tensor:
        vectors = video_vectors(self.fuse(videos, texts), videos.mask)
        return all_pairs_similarity(text_vectors(texts.tokens, texts.mask), vectors, self.scale)


def test_leaks_are_found_in_a_users_model_and_not_in_ours() -> None:
    model = tiny_avigate(query_gate="scalar", fusion_mix=1.0)
    report = find_leaks(model.train(), Loader())
    assert not report.leaking and report.recalls[0].count == VIDEOS and model.training
    model.__class__ = LeakyAVIGATE
    assert find_leaks(model, Loader()).depends_on_position


def test_a_leak_is_found_at_the_start_of_training_through_gates_that_are_next_to_shut() -> None:
    model = tiny_avigate(spread=0.0, query_gate="scalar", fusion_mix=0.05)
    assert find_leaks(model, Loader()).position_shift < 1e-12
    model.__class__ = LeakyAVIGATE
    report = find_leaks(model, Loader())
    assert report.depends_on_position and report.position_shift < 1e-3
    assert model.query_tokens.dtype == torch.float32


@pytest.mark.parametrize("options", [{}, {"query_gate": "scalar", "gate_pooling": "attention"}], ids=str)
def test_sets_encoded_in_half_precision_are_scored_in_the_models_own(options: dict) -> None:
    model = tiny_avigate(**options)
    model.text_encoder = torch.nn.Linear(8, 8)
    batch = Clips().batch(list(range(VIDEOS)), list(range(VIDEOS)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = model.eval()(mode="predict", **batch)
    assert half[0]["tokens"].dtype == half[0]["audio"].dtype == half[0]["frames"].dtype == torch.float32
    metric = MSRVTTMetric()
    metric.dataset_meta = {**Clips().metainfo, "target": np.arange(VIDEOS)}
    metric.process({}, half)
    assert 0 <= metric.evaluate(VIDEOS)["msrvtt/mean"] <= 100


def test_bad_use_of_the_metric_is_named() -> None:
    for odd in (1.5, True, "50"):
        with pytest.raises(ConfigError, match=f"rerank={odd!r}, expected None or an int of at least 1"):
            MSRVTTMetric(rerank=odd)
    with pytest.raises(ConfigError, match="rerank=0"):
        MSRVTTMetric(rerank=0)
    metric = MSRVTTMetric()
    with pytest.raises(DataError, match="expected scorer with video_index or text_index"):
        metric.process({}, [{"tokens": torch.zeros(1)}])
    metric.dataset_meta = {"gallery": []}
    with pytest.raises(DataError, match="MSRVTTMetric needs target in the metainfo"):
        metric.compute_metrics([])
