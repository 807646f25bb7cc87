"""Training targets of moment retrieval and highlight detection, as QD-DETR makes them (start_end_dataset_audio.py).

Random choices come from torch's global generator: in the main process the engine seeds it before each batch is drawn,
so that a resumed run draws the same. DataLoader workers have generators of their own; packed features need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class SaliencyLabels(NamedTuple):
    """Clip indices of two positive and two negative clips, and the score (clips,) float32 of every clip."""

    positive: tuple[int, int]
    negative: tuple[int, int]
    scores: np.ndarray


def span_labels(windows: np.ndarray, num_clips: int, clip_length: float, max_windows: int) -> Tensor:
    """Windows (n, 2) in seconds as (center, width) float32, in fractions of ``num_clips * clip_length``.

    Past ``max_windows`` of them, a random choice in random order is kept.
    """
    if len(windows) > max_windows:
        windows = windows[torch.randperm(len(windows))[:max_windows].numpy()]
    spans = windows.astype(np.float32) / np.float32(num_clips * clip_length)
    starts, ends = spans[:, 0], spans[:, 1]
    return torch.from_numpy(np.stack([(starts + ends) * np.float32(0.5), ends - starts], axis=-1))


def visible_windows(windows: np.ndarray, num_seconds: float) -> np.ndarray:
    """Windows (n, 2) cut to the first ``num_seconds``; those that start later are left out."""
    return np.minimum(windows[windows[:, 0] < num_seconds], num_seconds)


class RankedClips(NamedTuple):
    """What the labels of one annotated sample are drawn from: clip indices, and scores (clips,) float32."""

    hard_positive: int
    hard_negative: int
    relevant: np.ndarray
    others: np.ndarray
    scores: np.ndarray


def rank_clips(clips: Sequence[int], scores: Sequence[Sequence[float]], num_clips: int) -> RankedClips:
    """Rank the annotated ``clips`` (n,) by the sums of their ``scores`` (n, annotators).

    Of equal scores the later clip is the hardest and the earlier the weakest. Clips beyond the features are left out
    (upstream lengthens the scores by one and fails beyond that); if all are, the last clip stands for them.
    """
    relevant = np.asarray(clips, dtype=np.int64)
    totals = np.asarray(scores, dtype=np.float64).sum(axis=1)
    inside = relevant < num_clips
    if inside.any():
        relevant, totals = relevant[inside], totals[inside]
    else:
        relevant, totals = np.array([num_clips - 1]), totals[-1:]
    every = np.zeros(num_clips, dtype=np.float32)
    every[relevant] = totals
    order = np.argsort(totals, kind="stable")
    others = np.delete(np.arange(num_clips), relevant)
    return RankedClips(int(relevant[order[-1]]), int(relevant[order[0]]), relevant, others, every)


def annotated_saliency(ranked: RankedClips) -> SaliencyLabels:
    """QVHighlights: hardest and one random relevant clip against the weakest relevant and one random other clip.

    With no other clip the hard pair is used twice.
    """
    positive, negative = ranked.hard_positive, ranked.hard_negative
    if len(ranked.others) == 0:
        return SaliencyLabels((positive, positive), (negative, negative), ranked.scores)
    easy_positive, easy_negative = int(_choose(ranked.relevant, 1)[0]), int(_choose(ranked.others, 1)[0])
    return SaliencyLabels((positive, easy_positive), (negative, easy_negative), ranked.scores)


def window_saliency(window: Sequence[float], num_clips: int, clip_length: float) -> SaliencyLabels:
    """ASR pre-training: two random clips of the one ``window`` [start, end] against two others; scores are 0 and 1.

    Where fewer than two clips are on a side they are repeated, and where the window covers the video its own clips
    are the negatives as well, which gives the hinge loss no gradient (upstream fails on both).
    """
    last = max(0, min(int(window[1] / clip_length), num_clips) - 1)
    first = min(int(window[0] / clip_length), last)
    every = np.zeros(num_clips, dtype=np.float32)
    every[first : last + 1] = 1
    inside, outside = np.flatnonzero(every), np.flatnonzero(every == 0)
    positive = _pair(inside)
    return SaliencyLabels(positive, _pair(outside) if len(outside) else positive, every)


def tvsum_saliency(label: Sequence[Sequence[float]], num_clips: int) -> SaliencyLabels:
    """TVSum: ``label`` (clips, annotators) from 1, summed and scaled to QVHighlights' range; best against worst clip.

    Clips past the last label score 0 and are never chosen.
    """
    totals = (np.asarray(label, dtype=np.float64) - 1).sum(axis=-1)[:num_clips]
    every = np.zeros(num_clips, dtype=np.float32)
    every[: len(totals)] = totals / 80 * 12  # 20 annotators' 0..4 sum to 80, QVHighlights' three to 12
    order = np.argsort(totals, kind="stable")
    return SaliencyLabels((int(order[-1]),) * 2, (int(order[0]),) * 2, every)


def drop_tokens(text: Tensor, ratio: float) -> None:
    """Zero a random ``ratio`` of the rows of ``text`` (N, D) in place."""
    count = round(len(text) * ratio)
    if count:
        text[torch.randperm(len(text))[:count]] = 0


def _choose(pool: np.ndarray, count: int) -> np.ndarray:
    """``count`` different members of ``pool``, in random order."""
    if count == 1:
        return pool[[int(torch.randint(len(pool), ()))]]
    return pool[torch.randperm(len(pool))[:count].numpy()]


def _pair(pool: np.ndarray) -> tuple[int, int]:
    chosen = _choose(pool, min(2, len(pool)))
    return int(chosen[0]), int(chosen[-1])
