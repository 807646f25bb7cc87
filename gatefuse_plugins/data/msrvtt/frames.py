"""Frames of a video: from a folder of pictures, or decoded from a video file by OpenCV."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gatefuse_plugins.data.images import IMAGE_SUFFIXES, read_image
from gatefuse_plugins.errors import DataError

FRAMES_PER_SECOND = 1.0  # CLIP4Clip's (Luo et al., 2021), and AVIGATE's
_NUMBERS = re.compile(r"(\d+)")
TRUNCATED_BELOW = 0.9  # of the frames that the container announces; encoders announce a few too many


def uniform_positions(count: int, wanted: int) -> NDArray[np.int64]:
    """At most ``wanted`` of ``count`` positions, first and last among them, evenly spread, ascending."""
    if count <= wanted:
        return np.arange(count)
    return np.linspace(0, count - 1, num=wanted).astype(np.int64)


def frame_files(folder: Path) -> list[Path]:
    """The pictures in ``folder`` by name, numbers within names by value; hidden files (macOS' ``._1.png``) are none."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES)]
    return [folder / name for name in sorted(names, key=_text_and_numbers) if not name.startswith(".")]


def _text_and_numbers(name: str) -> tuple[list[Any], str]:
    parts: list[Any] = _NUMBERS.split(name.rpartition(".")[0])  # text at even places, digits at odd ones
    parts[1::2] = map(int, parts[1::2])
    return parts, name  # 1.png and 01.png in one order everywhere


def read_frames(source: Path, num_frames: int) -> list[Image.Image]:
    """Up to ``num_frames`` pictures, evenly spread over the video ``source``.

    A folder's pictures are all candidates; a video file's candidates are one a second, as in CLIP4Clip.

    Raises:
        DataError: no frame, a broken picture, a video that cannot be decoded or ends early, or OpenCV is missing.
    """
    if source.is_dir():
        files = frame_files(source)
        if not files:
            raise DataError(f"{source}: no frames, expected pictures {', '.join(IMAGE_SUFFIXES)}")
        return [_eight_bit(read_image(files[position])) for position in uniform_positions(len(files), num_frames)]
    if not source.is_file():
        raise DataError(f"{source}: no such video file or folder of frames")
    return _decode(source, num_frames)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Grey of 16 bit (modes ``I;16`` and ``I``) scaled to 8, where Pillow would cut at 255; others as they are."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray(((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8))


def _decode(path: Path, num_frames: int) -> list[Image.Image]:
    cv2 = _opencv()
    announced, rate = _properties(cv2, path)
    wanted = _wanted(announced, rate, num_frames)
    pictures, reached = _collect(cv2, path, wanted)
    if len(pictures) == len(wanted) and pictures:
        return pictures
    if reached == 0:
        raise DataError(f"{path}: no frame can be decoded; fetch the file again")
    if reached < TRUNCATED_BELOW * announced:
        raise DataError(f"{path}: only {reached} of {announced} frames can be decoded; fetch the file again")
    return _collect(cv2, path, _wanted(reached, rate, num_frames))[0]


def _wanted(count: int, rate: float, num_frames: int) -> NDArray[np.int64]:
    """Indices of the frames to keep: one a second, thinned out evenly to ``num_frames``."""
    seconds = np.arange(0.0, count / rate, 1 / FRAMES_PER_SECOND)
    candidates = np.minimum((seconds * rate).astype(np.int64), max(count - 1, 0))
    return candidates[uniform_positions(len(candidates), num_frames)]


def _properties(cv2: Any, path: Path) -> tuple[int, float]:
    """Frames that the container announces (counted where it announces none) and frames per second."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DataError(f"{path}: not a video that OpenCV can open; fetch the file again")
        count, rate = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), float(capture.get(cv2.CAP_PROP_FPS))
        if count <= 0:
            count = 0
            while capture.grab():
                count += 1
        return count, rate if np.isfinite(rate) and rate > 0 else 25.0
    finally:
        capture.release()


def _collect(cv2: Any, path: Path, wanted: Sequence[int] | NDArray[np.int64]) -> tuple[list[Image.Image], int]:
    """Pictures of the ascending frame indices, and how many frames were reached.

    Frames are walked through in order: seeking lands on key frames in many files.
    """
    capture = cv2.VideoCapture(str(path))
    pictures: list[Image.Image] = []
    index = 0
    try:
        for target in wanted:
            while index <= target and capture.grab():
                index += 1
            if index <= target:
                break
            found, pixels = capture.retrieve()
            if not found:
                break
            pictures.append(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
    finally:
        capture.release()
    return pictures, index


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            f"decoding video files needs OpenCV, which cannot be imported ({error}); pip install opencv-python-headless"
            " (which needs no system packages), or give folders of frames"
        ) from error
    return cv2
