"""Reader of MSR-VTT's annotations in the 9k/1k-A split (Xu et al., CVPR 2016; Yu et al., ECCV 2018)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.data.base_annotations import caption_notes, dataset_identity
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.msrvtt.places import TEST_FILE, TRAIN_FILE, msrvtt_files, msrvtt_root
from gatefuse_plugins.data.msrvtt.tables import read_table
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import read_json

SPLITS = ("train", "val", "test")
PUBLISHED_VIDEOS = {TRAIN_FILE: 9000, TEST_FILE: 1000}


@dataclass
class ClipAnnotations:
    """Videos of one split and their captions.

    Attributes:
        identity: name, split, digest, embedded.
        videos: distinct ids such as ``video7010``, in the order of the split's file.
        captions: T texts; several of one video in ``train``, one of each in ``val`` and ``test``.
        target: (T,) int64, row in ``videos`` of each caption's video.
        notes: what is unusual but usable, for the log.
    """

    identity: dict[str, Any]
    videos: list[str]
    captions: list[str]
    target: NDArray[np.int64]
    notes: list[str] = field(default_factory=list)


def read_msrvtt(data_root: str | Path, split: str, val_videos: int, faults: Faults) -> ClipAnnotations:
    """Read one split. Everything wrong goes to ``faults``; the result is usable only where there are none.

    Args:
        split: ``train`` is the 9k file without its last ``val_videos`` videos, each caption a sample; ``val`` are those
            videos, each with its first caption; ``test`` is 1k-A.
        val_videos: videos held out for validation, since 1k-A has no validation part of its own.

    Raises:
        DataError: ``data_root`` holds none of the annotation files.
    """
    root = msrvtt_root(data_root)
    files = msrvtt_files(root, split)
    identity = dataset_identity(root, "MSR-VTT 1k-A", split, files)
    rows = read_table(files[0], ("video_id", "sentence") if split == "test" else ("video_id",), faults)
    names = [row["video_id"] for row in rows]
    videos = list(dict.fromkeys(names))
    told = identity["embedded"] or split == "val"  # train tells of val's file
    notes = [] if told else _size_notes(files[0].name, len(videos))
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if split == "test":
        faults.add(f"{files[0]}: video ids given more than once, expected one caption a video", *repeated)
        captions = [row["sentence"] for row in rows]
        return ClipAnnotations(identity, names, captions, np.arange(len(names)), notes + _caption_notes(captions))
    notes += [f"{len(repeated)} video id(s) stand more than once in {files[0].name}, used once"] if repeated else []
    low = 1 if split == "val" else 0
    if videos and not low <= val_videos < len(videos):  # a file without videos is a fault already
        faults.add(f"val_videos must lie in {low} to {len(videos) - 1} for split {split!r} of {files[0]}", val_videos)
        return ClipAnnotations(identity, videos, [], np.arange(0), notes)
    border = len(videos) - val_videos
    kept = videos[:border] if split == "train" else videos[border:]
    by_video, sources = _read_captions(files[1], set(kept), faults)
    faults.add(f"{files[1]}: videos without a caption", *(name for name in kept if name not in by_video))
    texts = [(row, text) for row, name in enumerate(kept) for text in by_video.get(name, [])[: _per_video(split)]]
    captions = [text for _, text in texts]
    target = np.array([row for row, _ in texts], dtype=np.int64)
    if split == "val":
        notes += _shared_sources(kept, videos[:border], sources)
    return ClipAnnotations(identity, kept, captions, target, notes + _caption_notes(captions))


def videos_in_both(data_root: str | Path) -> list[str]:
    """Test videos that the training file names too; none where one of the two files is missing or faulty.

    Raises:
        DataError: ``data_root`` holds none of the annotation files.
    """
    root = msrvtt_root(data_root)
    train, test = (read_table(root / name, ("video_id",), Faults()) for name in (TRAIN_FILE, TEST_FILE))
    known = {row["video_id"] for row in train}
    return [row["video_id"] for row in test if row["video_id"] in known]


def _size_notes(name: str, count: int) -> list[str]:
    published = PUBLISHED_VIDEOS[name]
    return [f"{name} names {count} videos, not {published}: figures do not compare"] if count != published else []


def _per_video(split: str) -> int | None:
    return None if split == "train" else 1


def _caption_notes(captions: list[str]) -> list[str]:
    return caption_notes([(caption,) for caption in captions])


def _read_captions(path: Path, wanted: set[str], faults: Faults) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Captions of the wanted videos by id in the file's order, and the source of every video that states one."""
    try:
        content = read_json(path)
    except DataError as error:
        faults.add("missing annotation files" if not path.exists() else "unreadable annotation files", error)
        return {}, {}
    sentences = content.get("sentences") if isinstance(content, Mapping) else None
    if not isinstance(sentences, list):
        faults.add("annotation files without a list 'sentences'", path)
        return {}, {}
    captions: dict[str, list[str]] = {}
    for number, entry in enumerate(sentences):
        name, text = (entry.get("video_id"), entry.get("caption")) if isinstance(entry, Mapping) else (None, None)
        if not isinstance(name, str) or not isinstance(text, str):
            faults.add(f"{path}: sentences without a video_id and a caption, both strings", f"entry {number}")
        elif name in wanted:
            captions.setdefault(name, []).append(text)
    return captions, _sources(content.get("videos"))


def _sources(videos: Any) -> dict[str, str]:
    """Film that each video was cut from, of those that state one."""
    stated = [entry for entry in videos if isinstance(entry, Mapping)] if isinstance(videos, list) else []
    named = [entry for entry in stated if isinstance(entry.get("video_id"), str)]
    return {entry["video_id"]: str(entry["url"]) for entry in named if "url" in entry}


def _shared_sources(held_out: list[str], training: list[str], sources: Mapping[str, str]) -> list[str]:
    known = {sources[name] for name in training if name in sources}
    shared = sum(sources.get(name) in known for name in held_out)
    return [f"{shared} of {len(held_out)} held-out videos are cut from a film that training sees too"] if shared else []
