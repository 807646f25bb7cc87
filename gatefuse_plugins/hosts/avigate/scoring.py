"""Scores of whole sets: every text against every video fused with that text, within a memory bound.

A text-conditioned video has no vector of its own. Fusing each video with its own caption before comparing it with all
texts would tell the answer; here every pair is fused anew, and what does not depend on the pair is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos
from gatefuse_plugins.hosts.avigate.similarity import (
    VideoVectors,
    all_pairs_similarity,
    pair_similarity,
    text_vectors,
    video_vectors,
)

if TYPE_CHECKING:
    from gatefuse_plugins.hosts.avigate.network import AVIGATENetwork

MAX_BYTES = 1 << 28
"""Default bound on temporaries; beyond some hundred pairs at a time nothing gets faster."""
DIRECTIONS = ("text_to_video", "video_to_text")


def embed_videos(network: AVIGATENetwork, videos: EncodedVideos, max_bytes: int = MAX_BYTES) -> VideoVectors:
    """Vectors of the text-free pass: the model itself where no gate sees text, else the first stage of two."""
    step = pairs_within(network, videos, None, max_bytes)
    parts = [
        video_vectors(network.fuse(part), part.mask)
        for part in (videos[start : start + step] for start in range(0, len(videos), step))
    ]
    return VideoVectors.concatenate(parts)


def text_free_scores(
    network: AVIGATENetwork, texts: EncodedTexts, videos: EncodedVideos | VideoVectors, max_bytes: int = MAX_BYTES
) -> Tensor:
    """(T, V) similarity with videos fused without text, once each."""
    vectors = videos if isinstance(videos, VideoVectors) else embed_videos(network, videos, max_bytes)
    text = text_vectors(texts.tokens, texts.mask)
    return all_pairs_similarity(text, vectors, network.scale, network.lse_temperature, max_bytes)


def score_all_pairs(
    network: AVIGATENetwork, texts: EncodedTexts, videos: EncodedVideos, max_bytes: int = MAX_BYTES
) -> Tensor:
    """(T, V) similarity of every text and every video fused with that text.

    Args:
        network: a model whose gates do not see text fuses each video once.
        texts: T texts.
        videos: V videos.
        max_bytes: bound on temporaries beyond inputs and result. With autograd, chunks that do not fit together are
            recomputed in the backward pass.
    """
    if not network.text_conditioned:
        return text_free_scores(network, texts, videos, max_bytes)
    device = videos.frames.device
    # video by video: a chunk then holds few videos, whose audio is projected once for all its texts
    text_rows = torch.arange(len(texts), device=device).repeat(len(videos))
    video_rows = torch.arange(len(videos), device=device).repeat_interleave(len(texts))
    scores = _score_sorted(network, texts, videos, text_rows, video_rows, max_bytes)
    return scores.view(len(videos), len(texts)).T


def score_pairs(
    network: AVIGATENetwork,
    texts: EncodedTexts,
    videos: EncodedVideos,
    text_rows: Tensor,
    video_rows: Tensor,
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """(P,) similarity of text ``text_rows[p]`` and video ``video_rows[p]``; otherwise as :func:`score_all_pairs`."""
    order = video_rows.argsort(stable=True)
    scores = _score_sorted(network, texts, videos, text_rows[order], video_rows[order], max_bytes)
    return torch.zeros_like(scores).index_copy(0, order, scores)


def two_stage_scores(
    network: AVIGATENetwork,
    texts: EncodedTexts,
    videos: EncodedVideos,
    k: int,
    direction: str = "text_to_video",
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """(T, V) scores for ranking in one direction: the k best of the text-free pass are re-ranked text-conditioned.

    Candidates keep their text-conditioned scores; all others lie below a query's lowest candidate, in the order of the
    first stage. Only comparisons within a query (row, or column for ``video_to_text``) mean anything.

    Raises:
        ConfigError: ``k`` is below 1, or the direction is unknown.
    """
    if k < 1:
        raise ConfigError(f"k: {k}, expected at least 1 candidate to re-rank")
    if direction not in DIRECTIONS:
        raise ConfigError(f"direction: {direction!r} is unknown{suggestion(direction, DIRECTIONS)}")
    first = text_free_scores(network, texts, videos, max_bytes)
    if not network.text_conditioned:
        return first
    if direction == "video_to_text":
        first = first.T
    candidates = first.topk(min(k, first.shape[1]), dim=1).indices
    queries = torch.arange(len(first), device=first.device)[:, None].expand_as(candidates)
    pairs = (queries.flatten(), candidates.flatten())
    text_rows, video_rows = pairs if direction == "text_to_video" else pairs[::-1]
    again = score_pairs(network, texts, videos, text_rows, video_rows, max_bytes).view_as(candidates)
    rest = first.scatter(1, candidates, float("-inf")).amax(dim=1, keepdim=True)  # -inf where all are candidates
    gap = (rest - again.amin(dim=1, keepdim=True)).clamp_min(0.0) + 1.0
    scores = (first - gap).scatter(1, candidates, again)
    return scores if direction == "text_to_video" else scores.T


def pairs_within(network: AVIGATENetwork, videos: EncodedVideos, texts: EncodedTexts | None, max_bytes: int) -> int:
    """How many pairs may be fused at a time so that their temporaries stay within ``max_bytes``; at least 1.

    Live at once are about 10 tensors of a pair's frames (input, normalised, FFN hidden layer of 4, projections), with
    autograd about 46 a layer, one more a head where every head has a query of its own, and keys and values.
    """
    frames = videos.frames[0].numel()
    layers = len(network.transformerClip.resblocks) if torch.is_grad_enabled() else 1
    tensors = 46 if torch.is_grad_enabled() else 10
    if network.transformerClip.options.query_gate == "headwise":
        tensors += (4 if torch.is_grad_enabled() else 2) * network.num_heads
    numbers = layers * (tensors * frames + 6 * videos.audio[0].numel())
    if texts is not None:
        numbers += layers * 2 * texts.tokens[0].numel()
    return max(1, max_bytes // (numbers * videos.frames.element_size()))


def _chunks(count: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _score_sorted(
    network: AVIGATENetwork,
    texts: EncodedTexts,
    videos: EncodedVideos,
    text_rows: Tensor,
    video_rows: Tensor,
    max_bytes: int,
) -> Tensor:
    """:func:`score_pairs` for pairs that are sorted by video."""
    text = text_vectors(texts.tokens, texts.mask)
    states = network.transformerClip.text_states(texts.tokens, texts.mask)

    def score(text_rows: Tensor, video_rows: Tensor) -> Tensor:
        present, row_of = video_rows.unique_consecutive(return_inverse=True)
        heard = videos[present]
        audio = network.transformerClip.audio_states(heard.audio, heard.has_audio)
        frames, mask = heard.frames.index_select(0, row_of), heard.mask.index_select(0, row_of)
        fused = network.transformerClip.run(frames, audio, states, mask, row_of, text_rows)
        vectors = video_vectors(network.blend(fused, frames), mask)
        return pair_similarity(text.index_select(0, text_rows), vectors, network.scale, network.lse_temperature)

    step = pairs_within(network, videos, texts, max_bytes)
    if len(text_rows) <= step:
        return score(text_rows, video_rows)
    parts = []
    for rows in _chunks(len(text_rows), step):
        if torch.is_grad_enabled():
            parts.append(checkpoint(score, text_rows[rows], video_rows[rows], use_reentrant=False))
        else:
            parts.append(score(text_rows[rows], video_rows[rows]))
    return torch.cat(parts)
