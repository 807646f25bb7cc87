"""The embedded clips in MSR-VTT's layout, as AVIGATE and CLIP4Clip read it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from gatefuse_plugins.data.clips.config import SAMPLE_RATE, ClipSetConfig
from gatefuse_plugins.data.clips.drawing import ClipVideo, draw_videos
from gatefuse_plugins.data.clips.rendering import render_frames
from gatefuse_plugins.data.clips.store import ATTRIBUTES, make_set
from gatefuse_plugins.data.clips.synthesis import synthesise
from gatefuse_plugins.data.events.features import stream
from gatefuse_plugins.data.msrvtt.places import CAPTION_FILE, TEST_FILE, TRAIN_FILE
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.files import atomic_writer, write_json

_COLUMNS = ("key", "vid_key", "video_id", "sentence")


def make_msrvtt_clips(root: Path, config: ClipSetConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Make the set at ``root`` in MSR-VTT's layout; kept as it is where it stands complete.

    ``MSRVTT_train.9k.csv``, ``MSRVTT_JSFUSION_test.csv``, ``MSRVTT_data.json`` (each sentence has the extra key
    ``kind``: ``sight``, ``sound`` or ``both``), ``frames/video{N}/000001.png`` and so on, ``audio/video{N}.wav`` (8
    kHz, 16 bit, absent for videos without audio), and ``clips.json``: what is seen and heard in each video.

    Args:
        progress: called with (videos written, videos in all).

    Returns:
        The identity that ``gatefuse_dataset.json`` holds: name, generator_version, config, embedded, layout, digest.

    Raises:
        DataError: ``root`` holds anything else, or the set was changed.
    """
    return make_set(root, config, lambda folder: _write(folder, config, progress))


def _write(root: Path, config: ClipSetConfig, progress: Progress | None) -> None:
    videos = draw_videos(config)
    (root / "audio").mkdir()
    for index, video in enumerate(videos):
        _write_clip(root, video, config, index)
        if progress is not None:
            progress(index + 1, len(videos))
    _write_table(root / TRAIN_FILE, [v for v in videos if v.split == "train"])
    _write_table(root / TEST_FILE, [v for v in videos if v.split == "test"])
    write_json(root / CAPTION_FILE, _caption_file(videos), indent=None)
    attributes = {v.name: asdict(v) | {"captions": [kind for kind, _ in v.captions]} for v in videos}
    write_json(root / ATTRIBUTES, attributes, indent=None)


def _write_clip(root: Path, video: ClipVideo, config: ClipSetConfig, index: int) -> None:
    from scipy.io import wavfile

    rng = stream(config.seed, "clips media", index)
    folder = root / "frames" / video.name
    folder.mkdir(parents=True)
    for number, pixels in enumerate(render_frames(video.look, config.num_frames, config.image_size, rng), start=1):
        Image.fromarray(pixels).save(folder / f"{number:06d}.png", compress_level=1)
    if video.sound is not None:
        samples = synthesise(video.sound, config.seconds, rng)
        wavfile.write(root / "audio" / f"{video.name}.wav", SAMPLE_RATE, samples)


def _write_table(path: Path, videos: Sequence[ClipVideo]) -> None:
    with atomic_writer(path, "w") as stream_:
        writer = csv.writer(stream_, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for number, video in enumerate(videos):
            writer.writerow(
                (f"ret{number}", f"msr{video.name.removeprefix('video')}", video.name, video.captions[0][1])
            )


def _caption_file(videos: Iterable[ClipVideo]) -> dict[str, Any]:
    sentences: list[dict[str, Any]] = []
    entries = []
    for number, video in enumerate(videos):
        entries.append({"video_id": video.name, "id": number, "split": video.split, "category": 0})
        for kind, text in video.captions:
            sentences.append({"caption": text, "video_id": video.name, "sen_id": len(sentences), "kind": kind})
    return {
        "info": {"description": "embedded clips with sound, not MSR-VTT"},
        "videos": entries,
        "sentences": sentences,
    }
