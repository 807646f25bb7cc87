"""Honest scorers stay at chance on shuffled pairs; a scorer that fuses each video with its own caption is caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.leakage import check_leakage
from gatefuse_plugins.hosts.avigate import (
    AVIGATE,
    EncodedTexts,
    EncodedVideos,
    build_avigate,
    score_all_pairs,
    two_stage_scores,
)
from gatefuse_plugins.hosts.avigate.losses import symmetric_contrastive_loss
from gatefuse_plugins.hosts.avigate.similarity import all_pairs_similarity, text_vectors, video_vectors

COUNT, WIDTH = 150, 16
VARIANTS = [
    {},
    {"query_gate": "scalar"},
    {"query_gate": "headwise", "text_gates": True, "layer_decay": "fixed"},
    {"query_gate": "scalar", "dual_path": True, "text_alignment": "attention"},
]


def untrained(seed: int = 0, **options) -> AVIGATE:
    torch.manual_seed(seed)
    sizes = {"width": WIDTH, "num_heads": 2, "num_query_tokens": 4, "resampler_layers": 1, "fusion_layers": 1}
    model = build_avigate(**{**sizes, "max_frames": 4, "fusion_mix": 1.0, **options})
    with torch.no_grad():
        for parameter in model.transformerClip.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def random_sets(model: AVIGATE, seed: int, count: int = COUNT) -> tuple[EncodedTexts, EncodedVideos]:
    """Outputs of random encoders: texts and videos have nothing to do with each other."""
    generator = torch.Generator().manual_seed(seed)

    def features(length: int) -> Tensor:
        return torch.randn(count, length, WIDTH, generator=generator)

    mask = torch.ones(count, 3, dtype=torch.bool)
    with torch.no_grad():
        return model.encode_texts(features(2)), model.encode_videos(features(3), mask, features(5))


def leaky_scores(model: AVIGATE, texts: EncodedTexts, videos: EncodedVideos) -> Tensor:
    """Each video is fused with its own caption, and only then compared with all texts."""
    vectors = video_vectors(model.fuse(videos, texts), videos.mask)
    return all_pairs_similarity(text_vectors(texts.tokens, texts.mask), vectors, model.scale)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_an_honest_untrained_model_is_at_chance_in_both_directions(options: dict) -> None:
    model = untrained(**options)
    with torch.no_grad():
        report = check_leakage(lambda t, v: score_all_pairs(model, t, v), *random_sets(model, 1))
    assert not report.leaking and "no leak found" in str(report)
    assert [(r.direction, r.k) for r in report.recalls] == [
        (direction, k) for direction in ("text_to_video", "video_to_text") for k in (1, 5, 10)
    ]
    for recall in report.recalls:
        assert recall.count == COUNT and recall.hits <= recall.bound
        # the stated bound: alpha / 6 of the binomial's mass lies above it, and no bound below it would do
        assert (
            binom.sf(recall.bound, COUNT, recall.k / COUNT)
            <= 1e-3 / 6
            < binom.sf(recall.bound - 1, COUNT, recall.k / COUNT)
        )


def test_two_stage_scores_are_honest_too() -> None:
    model = untrained(query_gate="scalar")
    with torch.no_grad():
        texts, videos = random_sets(model, 1, 60)
        assert not check_leakage(lambda t, v: two_stage_scores(model, t, v, 60), texts, videos).leaking
        report = check_leakage(lambda t, v: two_stage_scores(model, t, v, 10), texts, videos)
    assert not report.leaking


def test_a_leaky_scorer_is_caught_before_any_training() -> None:
    for options in VARIANTS[1:]:
        model = untrained(**options)
        with torch.no_grad():
            report = check_leakage(lambda t, v, model=model: leaky_scores(model, t, v), *random_sets(model, 1))
        assert report.depends_on_position and report.leaking
        assert "(LEAK)" in str(report).splitlines()[-2]


def train_with_leak(model: AVIGATE, steps: int = 80) -> None:
    """Texts and videos are noise and never seen twice: the only thing to learn is to read the video's own caption."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        texts, videos = random_sets(model, 100 + step, 64)
        loss = symmetric_contrastive_loss(leaky_scores(model, texts, videos))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_leak_that_training_exploits_shows_in_recall_and_honest_scores_of_that_model_do_not() -> None:
    model = untrained(query_gate="scalar", text_gates=True)
    train_with_leak(model)
    texts, videos = random_sets(model, 2)
    with torch.no_grad():
        leaky = check_leakage(lambda t, v: leaky_scores(model, t, v), texts, videos)
        honest = check_leakage(lambda t, v: score_all_pairs(model, t, v), texts, videos)
    assert any(recall.leaking for recall in leaky.recalls if recall.direction == "text_to_video")
    assert not honest.leaking


def test_what_the_encoders_know_is_no_leak() -> None:
    vectors = np.random.default_rng(0).standard_normal((COUNT, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)  # so that each text's own video scores highest
    report = check_leakage(lambda t, v: t @ v.T, vectors, vectors)
    assert not report.leaking and report.position_shift < 1e-12
    assert all(recall.hits == 0 for recall in report.recalls if recall.k == 1)


def test_a_scorer_that_adds_a_bonus_to_the_diagonal_fails_both_tests() -> None:
    generator = np.random.default_rng(0)
    texts, videos = generator.standard_normal((2, COUNT, 8))
    report = check_leakage(lambda t, v: t @ v.T + 4 * np.eye(COUNT), texts, videos)
    assert report.depends_on_position and all(recall.leaking for recall in report.recalls)


def test_pruned_pairs_of_score_minus_infinity_are_no_leak() -> None:
    generator = np.random.default_rng(0)
    texts, videos = generator.standard_normal((2, COUNT, 8))

    def pruned(t: np.ndarray, v: np.ndarray) -> np.ndarray:
        scores = t @ v.T
        return np.where(scores >= np.sort(scores, axis=1)[:, -20:-19], scores, -np.inf)

    report = check_leakage(pruned, texts, videos)
    assert report.position_shift == 0.0 and not report.leaking
    told = check_leakage(lambda t, v: np.where(np.eye(COUNT, dtype=bool), -np.inf, pruned(t, v)), texts, videos)
    assert told.depends_on_position


def test_bad_input_is_named() -> None:
    vectors = np.zeros((4, 2))
    with pytest.raises(DataError, match="4 texts and 3 videos"):
        check_leakage(lambda t, v: t @ v.T, vectors, vectors[:3])
    with pytest.raises(DataError, match=r"gave shape \(4, 2\)"):
        check_leakage(lambda t, v: t, vectors, vectors)
    with pytest.raises(DataError, match="NaN"):
        check_leakage(lambda t, v: np.full((4, 4), np.nan), vectors, vectors)
