"""Reads the features of several samples and lays them out as one padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.data.moments.features import FeatureSet
from gatefuse_plugins.data.moments.sources import NORM_EPS, Rows

ENDPOINT_WIDTH = 2


class Sample(NamedTuple):
    """One sample: its video sources, its audio (None: it has none), its text, and how many clips are used."""

    video: list[Rows]
    audio: Rows | None
    text: Rows
    num_clips: int


def align(video: list[Rows], audio: Rows | None, text: Rows, max_clips: int, resample: bool) -> Sample:
    """Bring the streams of one sample to one length of at most ``max_clips``.

    Each is cut to the shortest (upstream's rule). With ``resample``, audio of another length than the video is instead
    stretched over it by linear interpolation, before both are cut to ``max_clips``.
    """
    whole = min(len(rows.values) for rows in video)
    if audio is not None and len(audio.values) != whole:
        if resample:
            audio = _resampled(audio, whole)
        else:
            whole = min(whole, len(audio.values))
    return Sample(video, audio, text, min(whole, max_clips))


def _resampled(rows: Rows, count: int) -> Rows:
    stretched = F.interpolate(rows.values.float().T[None], size=count, mode="linear", align_corners=False)[0].T
    return Rows(stretched, torch.linalg.vector_norm(stretched, dim=-1, keepdim=True) + NORM_EPS)


def stack_rows(streams: Sequence[Sequence[Rows]], counts: Sequence[int], width: int, normalize: bool) -> Tensor:
    """Batch (B, max(counts), ``width``) float32, zero after each sample's count.

    ``streams[b]`` are the sources of sample b, side by side along features, each divided by its divisors where
    ``normalize``; a sample without sources is zero. Columns past the sources' are left for :func:`add_endpoints`.
    """
    length = max(counts)
    batch = torch.empty(len(streams), length, width)
    for row, (sources, count) in enumerate(zip(streams, counts, strict=True)):
        start = 0
        for values, divisors in sources:
            stop = start + values.shape[1]
            if len(values) != count:
                values, divisors = values[:count], divisors[:count]
            place = batch[row, :count, start:stop]
            if not normalize:
                place.copy_(values)
            elif values.dtype == batch.dtype:  # divided straight into its place: one pass over memory
                torch.div(values, divisors, out=place)
            else:  # converting in the division itself is slower than converting first
                place.copy_(values).div_(divisors)
            start = stop
        if not sources:
            batch[row] = 0
        elif count < length:
            batch[row, count:] = 0
    return batch


def add_endpoints(batch: Tensor, counts: Sequence[int], mask: Tensor) -> None:
    """Write each clip's temporal endpoints into the last two columns: its start and end as fractions of the video.

    Args:
        batch: (B, L, D), changed in place.
        counts: clips of each sample, at least 1.
        mask: (B, L); endpoints are 0 where it is False.
    """
    starts = torch.arange(batch.shape[1]) / torch.tensor(counts)[:, None]
    lengths = torch.tensor([1.0 / count for count in counts])[:, None]
    batch[..., -2] = starts * mask
    batch[..., -1] = (starts + lengths) * mask


def valid_mask(counts: Sequence[int], length: int | None = None) -> Tensor:
    """Boolean (B, ``length`` or max(counts)): True where a sample has a clip or token."""
    return torch.arange(length or max(counts)) < torch.as_tensor(counts)[:, None]


@dataclass(frozen=True)
class BatchBuilder:
    """Reads samples of a :class:`FeatureSet` and stacks them.

    Attributes:
        features: the readers.
        max_clips, max_tokens: what is used of video and text at most.
        normalize_video, normalize_text: divide rows by their norms (audio as video).
        endpoints: append the temporal endpoint feature to video and audio.
        resample: stretch audio of another length than the video, instead of cutting both.
    """

    features: FeatureSet
    max_clips: int
    max_tokens: int
    normalize_video: bool
    normalize_text: bool
    endpoints: bool
    resample: bool

    @property
    def widths(self) -> dict[str, int]:
        """Features per row of ``video``, ``text`` and, where the set has it, ``audio``, endpoints included."""
        extra = ENDPOINT_WIDTH * self.endpoints
        found = self.features.widths
        return {role: width if role == "text" else width + extra for role, width in found.items() if width}

    def read(self, video: str, text: str) -> Sample:
        """The features of one sample; raises :class:`DataError` where a file of them cannot be used."""
        found = self.features
        streams = [reader.rows(video) for reader in found.video]
        silent = found.audio is None or video in found.silent
        audio = None if silent else found.audio.rows(video)  # type: ignore[union-attr]
        return align(streams, audio, found.text.rows(text), self.max_clips, self.resample)

    def stack(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """``video``, ``text`` and, where the set has audio, ``audio``, each with its mask."""
        counts = [sample.num_clips for sample in samples]
        tokens = [min(len(sample.text.values), self.max_tokens) for sample in samples]
        widths = self.widths
        batch = {
            "video": stack_rows([s.video for s in samples], counts, widths["video"], self.normalize_video),
            "video_mask": valid_mask(counts),
            "text": stack_rows([[s.text] for s in samples], tokens, widths["text"], self.normalize_text),
            "text_mask": valid_mask(tokens),
        }
        if self.features.audio is not None:
            streams = [[] if sample.audio is None else [sample.audio] for sample in samples]
            heard = [count * bool(stream) for count, stream in zip(counts, streams, strict=True)]
            batch["audio"] = stack_rows(streams, counts, widths["audio"], self.normalize_video)
            batch["audio_mask"] = valid_mask(heard, max(counts))
            if self.endpoints:
                add_endpoints(batch["audio"], counts, batch["audio_mask"])
        if self.endpoints:
            add_endpoints(batch["video"], counts, batch["video_mask"])
        return batch
