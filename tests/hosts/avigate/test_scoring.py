"""All-pairs, chosen-pairs and two-stage scoring against one pair at a time; chunks, gradients."""

from __future__ import annotations

import pytest
import torch
from tiny_avigate import tiny_avigate, tiny_batch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.avigate import (
    AVIGATE,
    EncodedTexts,
    EncodedVideos,
    VideoVectors,
    embed_videos,
    score_all_pairs,
    score_pairs,
    text_free_scores,
    two_stage_scores,
)
from gatefuse_plugins.hosts.avigate.similarity import pair_similarity, text_vectors, video_vectors

VARIANTS = [
    {},
    {"query_gate": "scalar"},
    {"query_gate": "headwise", "text_gates": True, "gate_pooling": "attention"},
    {"query_gate": "scalar", "text_alignment": "attention", "layer_decay": "learnable", "decay_ffn": True},
    {"query_gate": "headwise", "dual_path": True, "attention_temperature": 2.0},
    {"text_gates": True, "layer_decay": "fixed"},
]
TINY = 1  # bytes: one pair at a time


def encoded(model: AVIGATE) -> tuple[EncodedTexts, EncodedVideos]:
    batch = tiny_batch(tokens=3)
    videos = model.encode_videos(batch["video"], batch["video_mask"], batch["audio"], batch["audio_mask"])
    more = tiny_batch(seed=5, count=3, tokens=3)  # more texts than videos
    texts = model.encode_texts(
        torch.cat([batch["text"], more["text"]]), torch.cat([batch["text_mask"], more["text_mask"]])
    )
    return texts, videos


def one_by_one(model: AVIGATE, texts: EncodedTexts, videos: EncodedVideos) -> Tensor:
    """Every pair through the plain forward, alone."""
    scores = torch.empty(len(texts), len(videos))
    for t in range(len(texts)):
        for v in range(len(videos)):
            text, video = texts[[t]], videos[[v]]
            fused = model.fuse(video, text if model.text_conditioned else None)
            vectors = video_vectors(fused, video.mask)
            scores[t, v] = pair_similarity(text_vectors(text.tokens, text.mask), vectors, model.scale).item()
    return scores


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("max_bytes", [TINY, 1 << 26], ids=["one pair a chunk", "one chunk"])
def test_all_pairs_equal_one_pair_at_a_time(options: dict, max_bytes: int) -> None:
    model = tiny_avigate(**options)
    with torch.no_grad():
        texts, videos = encoded(model)
        scores = score_all_pairs(model, texts, videos, max_bytes)
        expected = one_by_one(model, texts, videos)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", VARIANTS[1:], ids=str)
def test_the_text_matters_where_it_should_and_nowhere_else(options: dict) -> None:
    model = tiny_avigate(**options)
    with torch.no_grad():
        texts, videos = encoded(model)
        conditioned, free = score_all_pairs(model, texts, videos), text_free_scores(model, texts, videos)
    with_audio = videos.has_audio.tolist()
    assert with_audio == [True, True, False, True]
    assert (conditioned - free)[:, with_audio].abs().max() > 1e-2
    torch.testing.assert_close(conditioned[:, 2], free[:, 2])  # a silent video is the same for every text


def test_chosen_pairs_come_in_the_order_asked_for() -> None:
    model = tiny_avigate(query_gate="scalar")
    with torch.no_grad():
        texts, videos = encoded(model)
        scores = score_all_pairs(model, texts, videos)
        rows, columns = torch.tensor([4, 0, 4, 2]), torch.tensor([3, 1, 0, 3])
        for max_bytes in (TINY, 1 << 26):
            chosen = score_pairs(model, texts, videos, rows, columns, max_bytes)
            torch.testing.assert_close(chosen, scores[rows, columns])


@pytest.mark.parametrize("direction", ["text_to_video", "video_to_text"])
def test_two_stages(direction: str) -> None:
    model = tiny_avigate(query_gate="scalar", fusion_mix=1.0)
    with torch.no_grad():
        texts, videos = encoded(model)
        every, first = score_all_pairs(model, texts, videos), text_free_scores(model, texts, videos)
        full = two_stage_scores(model, texts, videos, 99, direction)
        staged = two_stage_scores(model, texts, videos, 2, direction)
    torch.testing.assert_close(full, every)
    if direction == "video_to_text":
        every, first, staged = every.T, first.T, staged.T
    for again, before, row in zip(every, first, staged, strict=True):
        best = before.topk(2).indices
        rest = [i for i in range(len(row)) if i not in best.tolist()]
        torch.testing.assert_close(row[best], again[best])
        assert row[rest].max() < row[best].min()
        assert row[rest].argsort().tolist() == before[rest].argsort().tolist()


def test_two_stages_without_text_conditioning_are_one() -> None:
    model = tiny_avigate()
    with torch.no_grad():
        texts, videos = encoded(model)
        torch.testing.assert_close(two_stage_scores(model, texts, videos, 1), score_all_pairs(model, texts, videos))
        vectors = embed_videos(model, videos, max_bytes=TINY)
        assert isinstance(vectors, VideoVectors)
        torch.testing.assert_close(text_free_scores(model, texts, vectors), score_all_pairs(model, texts, videos))
    with pytest.raises(ConfigError, match="k: 0"):
        two_stage_scores(model, texts, videos, 0)
    with pytest.raises(ConfigError, match="did you mean 'text_to_video'"):
        two_stage_scores(model, texts, videos, 1, "text-to-video")
    with pytest.raises(ConfigError, match="does not take text"):
        model.transformerClip.text_states(texts.tokens, texts.mask)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_recomputed_chunks_give_the_gradients_of_one_chunk(options: dict) -> None:
    gradients = []
    for max_bytes in (1 << 30, 40_000):  # the second holds few pairs at a time
        model = tiny_avigate(max_bytes=max_bytes, **options)
        model(mode="loss", **tiny_batch(tokens=3))["loss_contrastive"].backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1]) and len(gradients[0]) > 50
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_sets_join_with_padding_and_take_rows() -> None:
    model = tiny_avigate()
    with torch.no_grad():
        texts, _ = encoded(model)
        short = model.encode_texts(tiny_batch(seed=7)["text"])
    joined = EncodedTexts.concatenate([texts, short])
    assert joined.tokens.shape == (11, 3, 8) and joined.mask[7:].tolist() == [[True, False, False]] * 4
    torch.testing.assert_close(joined[7:].tokens[:, :1], short.tokens)
    torch.testing.assert_close(joined[[8, 0]].tokens, torch.stack([joined.tokens[8], joined.tokens[0]]))
    with pytest.raises(DataError, match="no EncodedTexts to join"):
        EncodedTexts.concatenate([])
