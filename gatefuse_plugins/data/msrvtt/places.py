"""Where the files of an MSR-VTT copy lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from gatefuse_plugins.errors import DataError

TRAIN_FILE = "MSRVTT_train.9k.csv"
TEST_FILE = "MSRVTT_JSFUSION_test.csv"
CAPTION_FILE = "MSRVTT_data.json"

ANNOTATION_FOLDERS = ("", "msrvtt_data", "MSRVTT", "annotations")
FRAME_FOLDERS = ("frames", "video_frames")
VIDEO_FOLDERS = (
    *("", "videos", "videos/all", "video", "MSRVTT_Videos", "MSRVTT/videos/all", "compressed_videos"),
    *("TrainValVideo", "TestVideo"),
)
AUDIO_FOLDERS = ("audio", "audios", "MSRVTT_audios", "wav", *VIDEO_FOLDERS)
VIDEO_SUFFIXES = (".mp4", ".webm", ".avi", ".mkv")
AUDIO_SUFFIXES = (".wav",)
FOLDER = ("",)  # instead of suffixes: a folder of the video's name


def msrvtt_root(data_root: str | Path) -> Path:
    """The folder with the annotation files: ``data_root`` or one of the usual folders below it.

    Raises:
        DataError: none of them holds any of the three files.
    """
    root = Path(data_root)
    for folder in ANNOTATION_FOLDERS:
        if any((root / folder / name).is_file() for name in (TRAIN_FILE, TEST_FILE, CAPTION_FILE)):
            return root / folder
    tried = ", ".join(str(root / folder) for folder in ANNOTATION_FOLDERS)
    raise DataError(f"data_root {root}: no {TRAIN_FILE}, {TEST_FILE} or {CAPTION_FILE} in any of {tried}")


def msrvtt_files(root: Path, split: str) -> tuple[Path, ...]:
    """The annotation files that ``split`` (``train``, ``val`` or ``test``) is read from."""
    if split == "test":
        return (root / TEST_FILE,)
    return root / TRAIN_FILE, root / CAPTION_FILE


def locate_videos(data_root: str | Path, names: Sequence[str], folder: str | Path | None = None) -> dict[str, Path]:
    """Folder of frames, else video file, of each of ``names``; those without either are left out.

    The usual folders below ``data_root`` are searched in turn, each for what those before it lack. Suffixes may be in
    upper case.

    Args:
        folder: look in this folder alone.

    Raises:
        DataError: ``folder`` does not exist.
    """
    if folder is not None:
        return _located([(_existing(Path(folder)), FOLDER + VIDEO_SUFFIXES)], names)
    root = Path(data_root)
    kinds = ((FRAME_FOLDERS, FOLDER), (VIDEO_FOLDERS, VIDEO_SUFFIXES))
    return _located([(root / name, suffixes) for folders, suffixes in kinds for name in folders], names)


def locate_audio(data_root: str | Path, names: Sequence[str], folder: str | Path | None = None) -> dict[str, Path]:
    """The ``.wav`` file of each of ``names`` that has one; searched as :func:`locate_videos` does."""
    if folder is not None:
        return _located([(_existing(Path(folder)), AUDIO_SUFFIXES)], names)
    return _located([(Path(data_root) / name, AUDIO_SUFFIXES) for name in AUDIO_FOLDERS], names)


def video_places(data_root: str | Path) -> str:
    """What :func:`locate_videos` looks for and where, for messages."""
    films = ", ".join(filter(None, VIDEO_FOLDERS))
    return f"{data_root}: folders in {', '.join(FRAME_FOLDERS)}; {', '.join(VIDEO_SUFFIXES)} there or in {films}"


def audio_places(data_root: str | Path) -> str:
    """What :func:`locate_audio` looks for and where, for messages."""
    return f"{data_root}: {', '.join(AUDIO_SUFFIXES)} there or in {', '.join(filter(None, AUDIO_FOLDERS))}"


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that holds the files, or None to search data_root")
    return folder


def _located(places: Iterable[tuple[Path, Sequence[str]]], names: Sequence[str]) -> dict[str, Path]:
    """The first hit of each of ``names`` in ``places``: folders, and suffixes in the order of preference."""
    found: dict[str, Path] = {}
    for folder, suffixes in places:
        lacking = [name for name in names if name not in found]
        if not lacking:
            break
        if folder.is_dir():
            found |= _in_folder(folder, lacking, suffixes)
    return {name: found[name] for name in names if name in found}


def _in_folder(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> dict[str, Path]:
    with os.scandir(folder) as entries:
        present = {entry.name: entry for entry in entries}
    for entry in list(present.values()):
        stem, dot, suffix = entry.name.rpartition(".")
        if dot:
            present.setdefault(f"{stem}.{suffix.lower()}", entry)  # the spelling in lower case wins
    found = {}
    for name in names:
        for suffix in suffixes:
            hit = present.get(name + suffix)
            if hit is not None and (suffix or hit.is_dir()):
                found[name] = folder / hit.name
                break
    return found
