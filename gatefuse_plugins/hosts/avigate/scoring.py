"""Scores of whole sets: every text against every video fused with that text, within a memory bound.

A text-conditioned video has no vector of its own. Fusing each video with its own caption before comparing it with all
texts would tell the answer; here every pair is fused anew, and what does not depend on the pair is computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.hosts.avigate.chunks import chunks, pairs_within
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

DIRECTIONS = ("text_to_video", "video_to_text")


def embed_videos(network: AVIGATENetwork, videos: EncodedVideos, max_bytes: int | None = None) -> VideoVectors:
    """Vectors of the text-free pass: the model itself where no gate sees text, else the first stage of two."""
    step = pairs_within(network, videos, None, max_bytes)
    parts = [
        video_vectors(network.fuse(part), part.mask)
        for part in (videos[start : start + step] for start in range(0, len(videos), step))
    ]
    return VideoVectors.concatenate(parts)


def text_free_scores(
    network: AVIGATENetwork, texts: EncodedTexts, videos: EncodedVideos | VideoVectors, max_bytes: int | None = None
) -> Tensor:
    """(T, V) similarity with videos fused without text, once each."""
    vectors = videos if isinstance(videos, VideoVectors) else embed_videos(network, videos, max_bytes)
    text = text_vectors(texts.tokens, texts.mask)
    return all_pairs_similarity(text, vectors, network.scale, network.lse_temperature, max_bytes)


def score_all_pairs(
    network: AVIGATENetwork, texts: EncodedTexts, videos: EncodedVideos, max_bytes: int | None = None
) -> Tensor:
    """(T, V) similarity of every text and every video fused with that text.

    Args:
        network: a model whose gates do not see text fuses each video once.
        texts: T texts.
        videos: V videos.
        max_bytes: bound on temporaries beyond inputs and result; ``None`` is 32 MiB on the CPU, else 256 MiB. With
            autograd, chunks that do not fit together are recomputed in the backward pass.
    """
    if not network.text_conditioned:
        return text_free_scores(network, texts, videos, max_bytes)
    count = len(texts)

    def pairs(place: Tensor) -> tuple[Tensor, Tensor]:
        # video by video: a chunk then holds few videos, whose audio is projected once for all its texts
        return place % count, place // count

    return _score_sorted(network, texts, videos, count * len(videos), pairs, max_bytes).view(len(videos), count).T


def score_pairs(
    network: AVIGATENetwork,
    texts: EncodedTexts,
    videos: EncodedVideos,
    text_rows: Tensor,
    video_rows: Tensor,
    max_bytes: int | None = None,
) -> Tensor:
    """(P,) similarity of text ``text_rows[p]`` and video ``video_rows[p]``; otherwise as :func:`score_all_pairs`."""
    order = video_rows.argsort(stable=True)

    def pairs(place: Tensor) -> tuple[Tensor, Tensor]:
        return text_rows[order[place]], video_rows[order[place]]

    scores = _score_sorted(network, texts, videos, len(order), pairs, max_bytes)
    return torch.zeros_like(scores).index_copy(0, order, scores)


def two_stage_scores(
    network: AVIGATENetwork,
    texts: EncodedTexts,
    videos: EncodedVideos,
    k: int,
    direction: str = "text_to_video",
    max_bytes: int | None = None,
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


def _score_sorted(
    network: AVIGATENetwork,
    texts: EncodedTexts,
    videos: EncodedVideos,
    count: int,
    pairs: Callable[[Tensor], tuple[Tensor, Tensor]],
    max_bytes: int | None,
) -> Tensor:
    """(count,) scores of ``pairs``, which gives rows of text and of video of places 0..count - 1, sorted by video."""
    step = pairs_within(network, videos, texts, max_bytes)

    def score(text_rows: Tensor, video_rows: Tensor) -> Tensor:
        wanted, text_of = text_rows.unique(return_inverse=True)
        said = texts[wanted]
        text = text_vectors(said.tokens, said.mask)
        states = network.transformerClip.text_states(said.tokens, said.mask)
        present, row_of = video_rows.unique_consecutive(return_inverse=True)
        heard = videos[present]
        audio = network.transformerClip.audio_states(heard.audio, heard.has_audio)
        frames, mask = heard.frames.index_select(0, row_of), heard.mask.index_select(0, row_of)
        fused = network.transformerClip.run(frames, audio, states, mask, row_of, text_of)
        vectors = video_vectors(network.blend(fused, frames), mask)
        return pair_similarity(text.index_select(0, text_of), vectors, network.scale, network.lse_temperature)

    device = videos.frames.device
    if not count:
        return videos.frames.new_zeros(0)
    if count <= step:
        return score(*pairs(torch.arange(count, device=device)))
    parts = []
    for rows in chunks(count, step):
        chosen = pairs(torch.arange(rows.start, rows.stop, device=device))
        parts.append(checkpoint(score, *chosen, use_reentrant=False) if torch.is_grad_enabled() else score(*chosen))
    return torch.cat(parts)
