"""MSR-VTT text-video retrieval: captioned clips for training, or a gallery of videos followed by texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from gatefuse_plugins.data.base import ROLES
from gatefuse_plugins.data.base_annotations import check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.collate import BatchedDataset
from gatefuse_plugins.data.msrvtt.annotations import SPLITS, ClipAnnotations, read_msrvtt, videos_in_both
from gatefuse_plugins.data.msrvtt.audio import AST_MEAN, AST_STD, AudioSettings
from gatefuse_plugins.data.msrvtt.clips import ClipReader
from gatefuse_plugins.data.msrvtt.features import locate_features
from gatefuse_plugins.data.msrvtt.frames import frame_files
from gatefuse_plugins.data.msrvtt.options import whole_number_faults
from gatefuse_plugins.data.msrvtt.places import audio_places, locate_audio, locate_videos, video_places
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.registry import DATASETS


@DATASETS.register_module()
class MSRVTTDataset(BatchedDataset):
    """Captioned clips with sound; ``__getitems__`` gives whole batches, named as the host AVIGATE takes them.

    Role ``train``: item i is caption i. A batch holds ``video`` (B, F, 3, S, S) float32, normalised as CLIP's, zeros at
    padding, and ``video_mask`` (B, F) bool; ``audio`` (B, T, M) log-mel spectrograms and ``audio_mask`` (B, T) bool,
    whose row is all False where a video has no audio; ``text`` list[str]; ``video_id`` (B,) int64, equal for captions
    of one video; ``sample_index`` (B,) int64.
    Role ``eval``: the first ``len(metainfo['gallery'])`` items are videos, the rest texts. A batch holds what its
    indices hit: video and audio as above with ``video_index`` (row of the gallery), ``text`` with ``text_index``.
    ``metainfo['target']`` (T,) int64 is each text's row of the gallery: score all texts against all videos.

    Features computed beforehand (``build_clip_features``) make ``video`` (B, F, D) and ``audio`` (B, A, D).

    Args:
        data_root: folder of an MSR-VTT copy; ``tools/check_data.py msrvtt`` examines one.
        split: ``train`` (9k), ``val`` (its last ``val_videos``), ``test`` (1k-A).
        role: ``train`` or ``eval``.
        val_videos: videos taken from the end of the 9k file for ``val``.
        num_frames: frames of a video at most, evenly spread; video files are sampled once a second before that.
        frame_size: side S in pixels.
        video_folder, audio_folder: look here alone; by default under the names in circulation below ``data_root``.
        use_audio: False leaves ``audio`` out of the batches.
        sample_rate, num_mel_bins, audio_length, frame_shift, audio_mean, audio_std: see :class:`AudioSettings`;
            ``audio_length`` is T.
        video_features, audio_features: folders of ``{video_id}.npy`` to read instead.
        keep_in_memory: decode each clip once per process.
        annotations_only: look for no clips; asking for a batch with videos raises.

    Raises:
        ConfigError: an option has no valid value.
        DataError: annotations are faulty, videos are missing or have no frame, or no video has audio; lists all.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str = "train",
        role: str = "train",
        val_videos: int = 0,
        num_frames: int = 12,
        frame_size: int = 224,
        video_folder: str | Path | None = None,
        audio_folder: str | Path | None = None,
        use_audio: bool = True,
        sample_rate: int = 16000,
        num_mel_bins: int = 128,
        audio_length: int = 1024,
        frame_shift: float | None = 10.0,
        audio_mean: float = AST_MEAN,
        audio_std: float = AST_STD,
        video_features: str | Path | None = None,
        audio_features: str | Path | None = None,
        keep_in_memory: bool = False,
        annotations_only: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("role", role, ROLES)
        sizes = {"val_videos": val_videos, "num_frames": num_frames, "frame_size": frame_size}
        if wrong := whole_number_faults(sizes, {"val_videos": 0}):
            raise ConfigError("MSRVTTDataset: " + "; ".join(wrong))
        self.role, self.data_root = role, Path(data_root)
        self.annotations = self._read(split, val_videos)
        self.subject = f"{self.annotations.identity['name']} {self.annotations.identity['split']}"
        settings = AudioSettings(sample_rate, num_mel_bins, audio_length, frame_shift, audio_mean, audio_std)
        videos, audio = {}, {}
        if not annotations_only:
            videos = self._locate_videos(video_folder, video_features)
            audio = self._locate_audio(audio_folder, audio_features) if use_audio else {}
        self.clips = ClipReader(videos, audio, num_frames, frame_size, settings if use_audio else None, keep_in_memory)
        for note in self.notes:
            print_log(f"{self.subject}: {note}", logger="current")

    @property
    def notes(self) -> list[str]:
        """What is unusual but usable, and how many videos have no audio."""
        found, silent = list(self.annotations.notes), len(self.annotations.videos) - len(self.clips.audio)
        if self.clips.settings is not None and self.clips.videos and silent:
            found.append(f"{silent} of {len(self.annotations.videos)} videos have no audio, their audio is masked")
        return found

    @property
    def metainfo(self) -> dict[str, Any]:
        """``identity``, ``gallery`` (video ids), ``captions``, ``target`` (T,) int64, ``has_audio`` (V,) bool."""
        found = self.annotations
        return {
            "identity": dict(found.identity),
            "gallery": list(found.videos),
            "captions": list(found.captions),
            "target": found.target,
            "has_audio": np.array([name in self.clips.audio for name in found.videos], dtype=bool),
        }

    def __len__(self) -> int:
        captions = len(self.annotations.captions)
        return captions if self.role == "train" else len(self.annotations.videos) + captions

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """One collated batch, in the order of ``indices`` (videos before texts)."""
        rows = self.rows_of(indices)
        found, gallery_size = self.annotations, len(self.annotations.videos)
        if self.role == "train":
            target = found.target[rows]
            batch = self._clip_batch(target) | {"text": [found.captions[row] for row in rows]}
            return batch | {"video_id": torch.from_numpy(target), "sample_index": torch.from_numpy(rows)}
        batch = {}
        videos, texts = rows[rows < gallery_size], rows[rows >= gallery_size] - gallery_size
        if len(videos):
            batch |= self._clip_batch(videos) | {"video_index": torch.from_numpy(videos)}
        if len(texts):
            batch |= {"text": [found.captions[row] for row in texts], "text_index": torch.from_numpy(texts)}
        return batch

    def _clip_batch(self, rows: np.ndarray) -> dict[str, Any]:
        if not self.clips.videos:
            raise ConfigError(f"{self.subject}: no clips with annotations_only=True; leave that option out")
        return dict(self.clips.batch([self.annotations.videos[row] for row in rows]))

    def _read(self, split: str, val_videos: int) -> ClipAnnotations:
        faults = Faults()
        found = read_msrvtt(self.data_root, split, val_videos, faults)
        faults.raise_if_any(f"{found.identity['name']} {split}")
        shared = [] if split == "val" else videos_in_both(self.data_root)
        if shared:
            found.notes.append(f"{len(shared)} test video(s) are in the training file too: test figures will flatter")
        return found

    def _locate_videos(self, folder: str | Path | None, features: str | Path | None) -> dict[str, Path]:
        names, faults = self.annotations.videos, Faults()
        if features is not None:
            found, places = locate_features(features, names), str(features)
        else:
            found = locate_videos(self.data_root, names, folder)
            places = video_places(self.data_root) if folder is None else f"{folder} (pictures or a film of each)"
        missing = [name for name in names if name not in found]
        faults.add(f"videos of which nothing lies in {places}", *missing)
        hollow = [path for path in found.values() if path.is_dir() and not frame_files(path)]
        faults.add("folders of frames without a single picture", *hollow)
        faults.raise_if_any(self.subject)
        return found

    def _locate_audio(self, folder: str | Path | None, features: str | Path | None) -> dict[str, Path]:
        names = self.annotations.videos
        found = locate_audio(self.data_root, names, folder) if features is None else locate_features(features, names)
        if not found:
            place = features or folder or audio_places(self.data_root)
            raise DataError(f"{self.subject}: no video has audio in {place}; use_audio=False trains on the video alone")
        return found
