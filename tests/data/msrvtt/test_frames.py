"""Frames from folders of pictures and from video files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from clip_sets import write_frames
from PIL import Image

from gatefuse_plugins.data.msrvtt.frames import frame_files, read_frames, uniform_positions
from gatefuse_plugins.errors import DataError


def brightness(frames: list[Image.Image]) -> list[int]:
    return [round(float(np.asarray(frame).mean())) for frame in frames]


def write_film(path: Path, seconds: int = 6, rate: int = 5) -> Path:
    """Second s is grey of brightness 40 s."""
    cv2 = pytest.importorskip("cv2", reason="video files need OpenCV")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (64, 48))
    for index in range(seconds * rate):
        writer.write(np.full((48, 64, 3), 40 * (index // rate), dtype=np.uint8))
    writer.release()
    return path


def test_positions_are_spread_and_hold_both_ends() -> None:
    assert uniform_positions(10, 4).tolist() == [0, 3, 6, 9]
    assert uniform_positions(3, 12).tolist() == [0, 1, 2]
    assert uniform_positions(5, 1).tolist() == [0]
    assert uniform_positions(0, 4).tolist() == []


def test_pictures_are_ordered_by_number(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", 5)
    for number in (1, 2, 3, 4, 5):
        (tmp_path / f"a/{number:06d}.png").rename(
            tmp_path / f"a/{number * 5}.png"
        )  # 5, 10, .. : 10 sorts before 5 as text
    assert brightness(read_frames(tmp_path / "a", 12)) == [0, 20, 40, 60, 80]
    assert brightness(read_frames(tmp_path / "a", 3)) == [0, 40, 80]
    assert brightness(read_frames(tmp_path / "a", 1)) == [0]


def test_numbers_within_names_count_and_hidden_files_do_not(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", 12, (2, 2))
    for number in range(1, 13):
        (tmp_path / f"a/{number:06d}.png").rename(tmp_path / f"a/frame{number}.PNG")
    (tmp_path / "a/._frame1.png").write_bytes(b"of macOS")
    assert brightness(read_frames(tmp_path / "a", 12)) == list(range(0, 240, 20))
    names = [path.name for path in frame_files(tmp_path / "a")]
    assert names[:2] == ["frame1.PNG", "frame2.PNG"] and names[-1] == "frame12.PNG"


def test_grey_of_16_bit_keeps_its_range(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    values = np.array([[0, 1000, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a/1.png")
    (found,) = read_frames(tmp_path / "a", 1)
    assert found.mode == "L" and np.asarray(found).tolist() == [[0, 4, 128, 255]]


def test_films_are_sampled_once_a_second(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4")
    assert brightness(read_frames(film, 12)) == pytest.approx([0, 40, 80, 120, 160, 200], abs=3)
    assert brightness(read_frames(film, 3)) == pytest.approx([0, 80, 200], abs=3)
    short = write_film(tmp_path / "short.mp4", seconds=1, rate=1)
    assert brightness(read_frames(short, 12)) == [0]


def test_broken_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    with pytest.raises(DataError, match="hollow: no frames, expected pictures"):
        read_frames(tmp_path / "hollow", 4)
    write_frames(tmp_path / "torn", 2)
    (tmp_path / "torn/000002.png").write_bytes((tmp_path / "torn/000002.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"000002.png: not a readable image"):
        read_frames(tmp_path / "torn", 4)
    with pytest.raises(DataError, match="no such video file"):
        read_frames(tmp_path / "absent.mp4", 4)
    film = write_film(tmp_path / "film.mp4").read_bytes()
    (tmp_path / "text.mp4").write_bytes(b"no film")
    with pytest.raises(DataError, match="not a video that OpenCV can open"):
        read_frames(tmp_path / "text.mp4", 4)
    avi = tmp_path / "whole.avi"
    cv2 = sys.modules["cv2"]
    writer = cv2.VideoWriter(str(avi), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    noise = np.random.default_rng(0)
    for _ in range(30):
        writer.write(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    (tmp_path / "half.avi").write_bytes(avi.read_bytes()[: avi.stat().st_size // 2])
    assert len(read_frames(avi, 4)) == 4 and film
    with pytest.raises(DataError, match=r"half.avi: only \d+ of 30 frames can be decoded"):
        read_frames(tmp_path / "half.avi", 4)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.mp4").write_bytes(b"any")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(DataError, match="pip install opencv-python-headless"):
        read_frames(tmp_path / "film.mp4", 4)
