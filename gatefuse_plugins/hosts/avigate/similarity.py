"""Similarity of texts and fused videos, global and local (AVIGATE, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.hosts.avigate.chunks import bytes_at_a_time
from gatefuse_plugins.hosts.avigate.rows import Rows


@dataclass(frozen=True)
class VideoVectors(Rows):
    """Videos that no text changes any more: what an index keeps.

    Attributes:
        frames: (V, F, D), each of length 1, 0 at padding.
        pooled: (V, D) mean of the valid frames, of length 1.
        mask: (V, F) True = a frame.
    """

    frames: Tensor
    pooled: Tensor
    mask: Tensor


def video_vectors(frames: Tensor, mask: Tensor) -> VideoVectors:
    """``frames`` (V, F, D) and ``mask`` (V, F) -> unit vectors."""
    frames = F.normalize(frames, dim=-1).masked_fill(~mask[..., None], 0.0)
    return VideoVectors(frames, F.normalize(masked_mean(frames, mask), dim=-1), mask)


def text_vectors(tokens: Tensor, mask: Tensor) -> Tensor:
    """Masked mean of the tokens (T, N, D), of length 1 -> (T, D); a text without tokens gives 0."""
    return F.normalize(masked_mean(tokens, mask), dim=-1)


def _combine(local: Tensor, pooled: Tensor, mask: Tensor, scale: Tensor, temperature: float) -> Tensor:
    logits = (local * (scale * temperature)).masked_fill(~mask, float("-inf"))
    return (logits.logsumexp(dim=-1) / temperature + pooled * scale) / 2


def pair_similarity(texts: Tensor, videos: VideoVectors, scale: Tensor, temperature: float = 1.0) -> Tensor:
    """Similarity of text p and video p: ``texts`` (P, D), P videos -> (P,).

    Half log-sum-exp over the valid frames' cosines, half the pooled cosine; both times ``scale``. ``temperature``
    multiplies inside the log-sum-exp and divides it (upstream's lambda).
    """
    local = (videos.frames @ texts[..., None]).squeeze(-1)
    return _combine(local, (videos.pooled * texts).sum(dim=-1), videos.mask, scale, temperature)


def all_pairs_similarity(
    texts: Tensor, videos: VideoVectors, scale: Tensor, temperature: float = 1.0, max_bytes: int | None = None
) -> Tensor:
    """Similarity of every text and every video: ``texts`` (T, D), V videos -> (T, V).

    ``max_bytes`` bounds the temporaries, which hold a few numbers a text and frame; the result comes on top.
    """
    count, length, dim = videos.frames.shape
    flat = videos.frames.reshape(count * length, dim).T
    most = bytes_at_a_time(max_bytes, texts.device)
    step = max(1, most // (4 * texts.element_size() * max(1, count * length)))
    rows = []
    for part in texts.split(step):
        local = (part @ flat).view(len(part), count, length)
        rows.append(_combine(local, part @ videos.pooled.T, videos.mask, scale, temperature))
    return torch.cat(rows) if rows else texts.new_zeros(0, count)
