"""Small MSR-VTT trees in the published layout, for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import wavfile

SMALL = {"num_frames": 4, "frame_size": 8, "sample_rate": 8000, "num_mel_bins": 6, "audio_length": 20}


def write_frames(folder: Path, count: int = 5, size: tuple[int, int] = (10, 8)) -> None:
    """Frame i is grey of brightness 20 i."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", size, (20 * number,) * 3).save(folder / f"{number + 1:06d}.png")


def write_wav(path: Path, seconds: float = 0.25, rate: int = 8000, frequency: float = 440.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * rate)) / rate
    wavfile.write(path, rate, np.rint(8000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16))


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    lines = ["key,vid_key,video_id,sentence"]
    lines += [f'ret{i},msr{i},{name},"{text}"' for i, (name, text) in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_captions(path: Path, pairs: list[tuple[str, str]], urls: dict[str, str] | None = None) -> None:
    sentences = [{"video_id": name, "caption": text, "sen_id": i} for i, (name, text) in enumerate(pairs)]
    videos = [{"video_id": name, "url": url} for name, url in (urls or {}).items()]
    path.write_text(json.dumps({"sentences": sentences, "videos": videos}), encoding="utf-8")


def write_msrvtt(root: Path, without_audio: tuple[str, ...] = ("video1",)) -> Path:
    """Training videos 0..3 with captions ``a0 b0 a1 b1 ...``, test videos 7 and 8; returns ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    train, test = [f"video{i}" for i in range(4)], ["video7", "video8"]
    write_csv(root / "MSRVTT_train.9k.csv", [(name, "unused") for name in train])
    write_csv(root / "MSRVTT_JSFUSION_test.csv", [(name, f"test of {name}") for name in test])
    pairs = [(name, f"{letter}{name[-1]}") for name in train for letter in "ab"]
    write_captions(root / "MSRVTT_data.json", [*pairs, ("video7", "another of video7")])
    for name in (*train, *test):
        write_frames(root / "frames" / name)
        if name not in without_audio:
            write_wav(root / "audio" / f"{name}.wav")
    return root
