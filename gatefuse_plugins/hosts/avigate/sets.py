"""Whole data sets: batches of encoded videos and texts joined by index, and tested for leaks."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.leakage import LeakReport, check_leakage
from gatefuse_plugins.hosts.avigate.model import AVIGATE
from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos

_VIDEO_KEYS = tuple(item.name for item in fields(EncodedVideos))


def tensors_of(prediction: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of one ``predict`` output, on the CPU."""
    return {name: value.detach().cpu() for name, value in prediction.items() if isinstance(value, Tensor)}


def join_predictions(
    predictions: Iterable[Mapping[str, Tensor]], num_texts: int, num_videos: int
) -> tuple[EncodedTexts, EncodedVideos]:
    """Join the host's ``predict`` outputs; row i is text, or video, of index i.

    Distributed samplers pad the last batch, so a row may arrive twice; the later copy stands.

    Raises:
        DataError: a row is missing or out of range.
    """
    texts, videos, text_rows, video_rows = [], [], [], []
    for part in predictions:
        if "video_index" in part:
            videos.append(EncodedVideos(*(part[name] for name in _VIDEO_KEYS)))
            video_rows.append(part["video_index"])
        if "text_index" in part:
            texts.append(EncodedTexts(part["tokens"], part["text_mask"]))
            text_rows.append(part["text_index"])
    text_order = _order(text_rows, num_texts, "text")
    video_order = _order(video_rows, num_videos, "video")
    return EncodedTexts.concatenate(texts)[text_order], EncodedVideos.concatenate(videos)[video_order]


def _order(parts: Sequence[Tensor], count: int, what: str) -> np.ndarray:
    """Where each of ``0..count - 1`` stands among the joined rows."""
    index = torch.cat(list(parts)).cpu().numpy() if parts else np.arange(0)
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise DataError(f"{what}_index spans {index.min()}..{index.max()}, expected 0..{count - 1}")
    place = np.full(count, -1)
    place[index] = np.arange(index.size)
    if len(missing := np.flatnonzero(place < 0)):
        raise DataError(
            f"{len(missing)} of {count} {what}s never arrived (first missing: {missing[:5].tolist()}); every video and "
            "text of a dataset of role 'eval' must pass through the model once: check the sampler and its length"
        )
    return place


@torch.no_grad()
def encode_set(model: AVIGATE, loader: DataLoader) -> tuple[EncodedTexts, EncodedVideos]:
    """Encode all texts and videos of ``loader``, over a dataset of role ``eval``; they lie on the model's device."""
    info, training = loader.dataset.metainfo, model.training
    model.eval()
    try:
        parts = [tensors_of(one) for batch in loader for one in model.val_step(batch)]
    finally:
        model.train(training)
    texts, videos = join_predictions(parts, len(info["captions"]), len(info["gallery"]))
    device = model.query_tokens.device
    return texts.to(device), videos.to(device)


@torch.no_grad()
def find_leaks(model: AVIGATE, loader: DataLoader, max_bytes: int | None = None) -> LeakReport:
    """:func:`check_leakage` of ``model.score`` on the videos of ``loader``, each with its first caption.

    Scores are those of a copy in float64, where the device has it: a leak through gates that are next to shut, as all
    are before training, moves scores by a millionth, and rounding by less than 1e-12.
    """
    texts, videos = encode_set(model, loader)
    _, first = np.unique(loader.dataset.metainfo["target"], return_index=True)
    scorer = copy.deepcopy(model, _without_encoders(model)).eval()
    exact = videos.frames.device.type != "mps"  # Metal has no float64
    if exact:
        scorer, texts, videos = scorer.double(), texts.map(_double), videos.map(_double)
    return check_leakage(
        partial(scorer.score, max_bytes=max_bytes), texts[first], videos, tolerance=1e-9 if exact else 1e-2
    )


def _without_encoders(model: AVIGATE) -> dict[int, Any]:
    """What ``deepcopy`` is to take for copied: the encoders, which are large and have done their part."""
    encoders = (model.frame_encoder, model.text_encoder, model.audio_encoder)
    return {id(encoder): None for encoder in encoders if encoder is not None}


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value
