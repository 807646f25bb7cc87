"""Where the files of an MSR-VTT copy lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gatefuse_plugins.data.base_faults import capped_list
from gatefuse_plugins.errors import DataError

TRAIN_FILE = "MSRVTT_train.9k.csv"
TEST_FILE = "MSRVTT_JSFUSION_test.csv"
CAPTION_FILE = "MSRVTT_data.json"

ANNOTATION_FOLDERS = ("", "msrvtt_data", "MSRVTT", "annotations")
FRAME_FOLDERS = ("frames", "video_frames")
VIDEO_FOLDERS = ("", "videos", "videos/all", "video", "MSRVTT_Videos", "MSRVTT/videos/all", "compressed_videos")
AUDIO_FOLDERS = ("audio", "audios", "MSRVTT_audios", "wav", *VIDEO_FOLDERS)
VIDEO_SUFFIXES = (".mp4", ".webm", ".avi", ".mkv")


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

    Args:
        folder: look in this folder alone.

    Raises:
        DataError: ``folder`` does not exist.
    """
    root = Path(data_root)
    if folder is not None:
        return _in_folder(_existing(Path(folder)), names, VIDEO_SUFFIXES, frames=True)
    for candidates, suffixes in ((FRAME_FOLDERS, ()), (VIDEO_FOLDERS, VIDEO_SUFFIXES)):
        for candidate in candidates:
            if found := _in_folder(root / candidate, names, suffixes, frames=not suffixes):
                return found
    return {}


def locate_audio(data_root: str | Path, names: Sequence[str], folder: str | Path | None = None) -> dict[str, Path]:
    """The ``.wav`` file of each of ``names`` that has one; arguments as :func:`locate_videos`."""
    root = Path(data_root)
    if folder is not None:
        return _in_folder(_existing(Path(folder)), names, (".wav",), frames=False)
    for candidate in AUDIO_FOLDERS:
        if found := _in_folder(root / candidate, names, (".wav",), frames=False):
            return found
    return {}


def video_places(data_root: str | Path) -> str:
    """The folders that :func:`locate_videos` searches, for messages."""
    return capped_list([Path(data_root) / folder for folder in (*FRAME_FOLDERS, *VIDEO_FOLDERS)])


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that holds the files, or None to search data_root")
    return folder


def _in_folder(folder: Path, names: Sequence[str], suffixes: Sequence[str], frames: bool) -> dict[str, Path]:
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    found = {}
    for name in names:
        choices = ([name] if frames else []) + [name + suffix for suffix in suffixes]
        hits = [choice for choice in choices if choice in present]
        if hits and (hits[0] != name or (folder / name).is_dir()):
            found[name] = folder / hits[0]
    return found
