"""Where clips are found: folders that share a set, suffixes in upper case, folders named by the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatefuse_plugins.data.msrvtt.places import locate_audio, locate_videos
from gatefuse_plugins.errors import DataError

NAMES = ["video0", "video1", "video2", "video3"]


def make(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_complete_each_other(tmp_path: Path) -> None:
    files = ("TestVideo/video3.mp4", "TrainValVideo/video1.MP4", "frames/video0/1.png", "videos/video0.mp4")
    make(tmp_path, *files, "video2.Webm", "video4.mp4")
    found = locate_videos(tmp_path, NAMES)
    expected = ["frames/video0", "TrainValVideo/video1.MP4", "video2.Webm", "TestVideo/video3.mp4"]
    assert list(found) == NAMES and [str(path.relative_to(tmp_path)) for path in found.values()] == expected


def test_suffixes_in_upper_case_are_second_choice(tmp_path: Path) -> None:
    make(tmp_path, "audio/video0.WAV", "audio/video0.wav", "audio/video1.WAV", "wav/Video2.wav", "videos/video3.wav")
    found = locate_audio(tmp_path, NAMES)
    expected = ["audio/video0.wav", "audio/video1.WAV", "videos/video3.wav"]  # the case of an id is its own
    assert [str(path.relative_to(tmp_path)) for path in found.values()] == expected


def test_a_folder_of_the_user_is_the_only_one(tmp_path: Path) -> None:
    make(tmp_path, "mine/video0.mp4", "mine/video1/1.png", "mine/video2", "frames/video3/1.png")
    found = locate_videos(tmp_path, NAMES, tmp_path / "mine")
    assert found == {"video0": tmp_path / "mine/video0.mp4", "video1": tmp_path / "mine/video1"}
    with pytest.raises(DataError, match="absent: no such folder"):
        locate_audio(tmp_path, NAMES, tmp_path / "absent")
