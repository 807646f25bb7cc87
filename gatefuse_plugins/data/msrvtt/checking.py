"""Examines an MSR-VTT copy on disk: annotations, and every video and audio file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.msrvtt.annotations import read_msrvtt, videos_in_both
from gatefuse_plugins.data.msrvtt.audio import read_samples
from gatefuse_plugins.data.msrvtt.frames import read_frames
from gatefuse_plugins.data.msrvtt.places import (
    TEST_FILE,
    TRAIN_FILE,
    audio_places,
    locate_audio,
    locate_videos,
    video_places,
)
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.errors import DataError

CHECKED_SPLITS = ("train", "test")  # validation is a part of train


@dataclass
class ClipCounts:
    """What one split holds.

    Attributes:
        videos, captions: as annotated.
        readable: videos of which frames can be decoded.
        with_audio: videos with a readable audio file.
        silent: of those, how many hold nothing but one constant value.
    """

    videos: int = 0
    captions: int = 0
    readable: int = 0
    with_audio: int = 0
    silent: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Finding:
    """Faults of one video's files, and what its audio is."""

    video_fault: str | None
    audio_fault: str | None
    has_audio: bool
    silent: bool


def check_clips(path: str | Path, faults: Faults, progress: Progress | None = None) -> dict[str, ClipCounts]:
    """Read all annotations, decode a frame of every video file and every picture's folder, and all audio.

    Args:
        path: the data root.
        faults: collects what is wrong.
        progress: called with (videos examined, videos of the split).
    """
    splits = {}
    for split in CHECKED_SPLITS:
        try:
            found = read_msrvtt(path, split, 0, faults)
        except DataError as error:
            faults.add("annotation folders not found", error)
            break
        counts = ClipCounts(len(found.videos), len(found.captions), notes=list(found.notes))
        videos, audio = locate_videos(path, found.videos), locate_audio(path, found.videos)
        missing = [name for name in found.videos if name not in videos]
        faults.add(
            f"missing videos (searched {video_places(path)})",
            *(f"{name} (audio alone)" if name in audio else name for name in missing),
        )
        if found.videos and not audio:
            kind = f"splits without any audio (searched {audio_places(path)}), refused unless use_audio=False is set"
            faults.add(kind, split)
        present = [name for name in found.videos if name in videos]
        pairs = [(videos[name], audio.get(name)) for name in present]
        for done, finding in enumerate(_examined(pairs), start=1):
            _count(finding, counts, faults)
            if progress is not None:
                progress(done, len(pairs))
        without = len(present) - sum(name in audio for name in present)
        counts.notes += [f"{without} video(s) without audio, masked"] if without else []
        counts.notes += [f"{counts.silent} video(s) whose audio is silent, used as it is"] if counts.silent else []
        splits[split] = counts
    if splits:
        faults.add(f"{path}: videos of {TEST_FILE} that {TRAIN_FILE} names too, expected none", *videos_in_both(path))
    return splits


def _examined(pairs: list[tuple[Path, Path | None]]) -> Iterator[_Finding]:
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_examine, pairs)


def _examine(pair: tuple[Path, Path | None]) -> _Finding:
    video, audio = pair
    video_fault = audio_fault = None
    silent = False
    try:
        # every picture of a folder, but the first and last second's frames of a film tell whether it is whole
        read_frames(video, 1 << 30 if video.is_dir() else 2)
    except DataError as error:
        video_fault = str(error)
    if audio is not None:
        try:
            _, samples = read_samples(audio)
            silent = bool((samples == samples[0]).all())
        except DataError as error:
            audio_fault = str(error)
    return _Finding(video_fault, audio_fault, audio is not None, silent)


def _count(finding: _Finding, counts: ClipCounts, faults: Faults) -> None:
    if finding.video_fault is None:
        counts.readable += 1
    else:
        faults.add("unreadable videos", finding.video_fault)
    if finding.audio_fault is not None:
        faults.add("unreadable audio files", finding.audio_fault)
    elif finding.has_audio:
        counts.with_audio += 1
        counts.silent += finding.silent
