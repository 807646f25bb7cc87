"""Reads the clips of one data set: frames and spectrogram of a video, or features computed beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.msrvtt.audio import AudioSettings, read_waveform, spectrogram
from gatefuse_plugins.data.msrvtt.frames import read_frames, uniform_positions
from gatefuse_plugins.data.transforms import ClipPreprocess
from gatefuse_plugins.errors import DataError


@dataclass(frozen=True)
class Clip:
    """One video.

    Attributes:
        video: (F, 3, S, S) frames or (F, D) features.
        audio: (T, M) spectrogram or (A, D) features; ``None`` without audio.
        audio_length: leading rows of ``audio`` that are not padding.
    """

    video: Tensor
    audio: Tensor | None = None
    audio_length: int = 0


@dataclass
class ClipReader:
    """Reads clips by video id.

    Attributes:
        videos: id -> folder of frames, video file, or ``.npy`` of features (F, D).
        audio: id -> ``.wav``, or ``.npy`` of features (A, D); an id that is not there has no audio.
        num_frames: frames of a clip at most.
        frame_size: side S in pixels.
        settings: of the spectrogram; ``None`` leaves the audio out.
        keep: hold every clip in memory once it was read; each DataLoader worker holds its own.
    """

    videos: Mapping[str, Path]
    audio: Mapping[str, Path]
    num_frames: int
    frame_size: int
    settings: AudioSettings | None
    keep: bool = False
    _kept: dict[str, Clip] = field(default_factory=dict, repr=False)

    def read(self, name: str) -> Clip:
        """Decode one clip.

        Raises:
            DataError: its files cannot be read, or hold NaN or infinity.
        """
        if name in self._kept:
            return self._kept[name]
        audio, length = self.read_audio(name)
        clip = Clip(self.read_video(name), audio, length)
        if self.keep:
            self._kept[name] = clip
        return clip

    def read_video(self, name: str) -> Tensor:
        """Frames (F, 3, S, S) or features (F, D); raises as :meth:`read`."""
        path = self.videos[name]
        if path.suffix == ".npy":
            features = _read_features(path)
            return features[torch.from_numpy(uniform_positions(len(features), self.num_frames))]
        transform = ClipPreprocess(self.frame_size)
        return torch.stack([transform(picture) for picture in read_frames(path, self.num_frames)])

    def read_audio(self, name: str) -> tuple[Tensor | None, int]:
        """Spectrogram (T, M) or features (A, D) and the length that is no padding; raises as :meth:`read`."""
        path = self.audio.get(name)
        if self.settings is None or path is None:
            return None, 0
        if path.suffix == ".npy":
            features = _read_features(path)
            return features, len(features)
        return spectrogram(read_waveform(path, self.settings.sample_rate), self.settings)

    def batch(self, names: Sequence[str]) -> dict[str, Tensor]:
        """``video``, ``video_mask`` and, unless audio is left out, ``audio``, ``audio_mask`` of ``names``.

        Raises:
            DataError: lists every clip that cannot be read, and features of differing width.
        """
        faults, clips = Faults(), {}
        for name in dict.fromkeys(names):  # several captions of one video may meet in a batch
            try:
                clips[name] = self.read(name)
            except DataError as error:
                faults.add("clips that cannot be read", error)
        faults.raise_if_any("clips")
        _check_widths("video", {name: clip.video for name, clip in clips.items()})
        _check_widths("audio", {name: clip.audio for name, clip in clips.items() if clip.audio is not None})
        chosen = [clips[name] for name in names]
        lengths = torch.tensor([len(clip.video) for clip in chosen])
        found = {
            "video": pad_sequence([clip.video for clip in chosen], batch_first=True),
            "video_mask": torch.arange(int(lengths.max())) < lengths[:, None],
        }
        return found if self.settings is None else found | self._audio_batch(chosen, self.settings)

    def _audio_batch(self, clips: Sequence[Clip], settings: AudioSettings) -> dict[str, Tensor]:
        present = next((clip.audio for clip in clips if clip.audio is not None), None)
        # the model's encoder still needs a well-formed input where no clip of the batch has audio
        absent = (
            torch.zeros(settings.max_length, settings.num_mel_bins)
            if present is None
            else present.new_zeros(1, present.shape[1])
        )
        rows = [absent if clip.audio is None else clip.audio for clip in clips]
        audio = pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([clip.audio_length for clip in clips])
        return {"audio": audio, "audio_mask": torch.arange(audio.shape[1]) < lengths[:, None]}


def _read_features(path: Path) -> Tensor:
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable feature file ({error}); compute it again") from error
    if features.ndim != 2 or len(features) == 0:
        raise DataError(f"{path}: features of shape {features.shape}, expected (length, width) with at least one row")
    if not np.isfinite(features).all():
        raise DataError(f"{path}: features hold NaN or infinity; compute them again")
    return torch.from_numpy(features.astype(np.float32))


def _check_widths(kind: str, found: Mapping[str, Tensor]) -> None:
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in found.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(f"{kind} of differing width, expected one for all: {listed}")
