"""Features of frozen encoders on disk, and the report on a whole data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_sets import SMALL, write_csv, write_msrvtt, write_wav
from scipy.io import wavfile
from torch import Tensor, nn

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.msrvtt import MSRVTTDataset, build_clip_features, check_clips
from gatefuse_plugins.errors import ConfigError, DataError


class MeanColour(nn.Module):
    """Frames (n, 3, S, S) -> (n, 3); counts its calls."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images.mean(dim=(2, 3))


class Pairs(nn.Module):
    """Spectrograms (B, T, M) -> means of two frames (B, T / 2, M)."""

    def forward(self, spectrogram: Tensor) -> Tensor:
        return spectrogram.unflatten(1, (-1, 2)).mean(dim=2)

    def token_mask(self, mask: Tensor) -> Tensor:
        return mask.unflatten(1, (-1, 2)).any(dim=2)


def test_features_equal_the_encoder_and_a_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    root = write_msrvtt(tmp_path / "set")
    raw, encoder = MSRVTTDataset(root, "train", **SMALL), MeanColour()
    build = {"encoder": encoder, "encoder_digest": "a", "dtype": "float32"}
    seen: list[tuple[int, int]] = []
    folder = build_clip_features(tmp_path / "f", raw.clips, "video", progress=lambda *c: seen.append(c), **build)
    assert encoder.calls == 4 and seen[-1] == (4, 4) and encoder.training
    (folder / "video2.npy").unlink()
    assert build_clip_features(tmp_path / "f", raw.clips, "video", **build) == folder and encoder.calls == 5
    assert build_clip_features(tmp_path / "f", raw.clips, "video", **(build | {"encoder_digest": "b"})) != folder
    audio = build_clip_features(tmp_path / "f", raw.clips, "audio", Pairs(), "p", dtype="float32")
    assert sorted(path.name for path in audio.glob("*.npy")) == ["video0.npy", "video2.npy", "video3.npy"]
    cached = MSRVTTDataset(root, "train", video_features=folder, audio_features=audio, **SMALL)
    images, vectors = raw[[0, 2]], cached[[0, 2]]
    torch.testing.assert_close(vectors["video"], images["video"].mean(dim=(3, 4)))
    length = int(vectors["audio_mask"][0].sum())
    assert length == (int(images["audio_mask"][0].sum()) + 1) // 2 and not vectors["audio_mask"][1].any()
    torch.testing.assert_close(vectors["audio"][0, :length], Pairs()(images["audio"])[0, :length])


def test_faulty_clips_are_listed_after_the_others_were_stored(tmp_path: Path) -> None:
    root = write_msrvtt(tmp_path / "set")
    dataset = MSRVTTDataset(root, "train", **SMALL)
    (root / "frames/video1/000001.png").write_bytes(b"torn")
    with pytest.raises(DataError, match="000001.png"):
        build_clip_features(tmp_path / "f", dataset.clips, "video", MeanColour(), "a")
    (folder,) = (path for path in (tmp_path / "f").iterdir() if path.is_dir())
    assert sorted(path.name for path in folder.glob("*.npy")) == ["video0.npy", "video2.npy", "video3.npy"]

    class Huge(MeanColour):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + 1e6

    with pytest.raises(DataError, match="not finite in float16"):
        build_clip_features(tmp_path / "f", dataset.clips, "video", Huge(), "h")
    with pytest.raises(ConfigError, match="did you mean 'video'"):
        build_clip_features(tmp_path / "f", dataset.clips, "vido", MeanColour(), "a")
    deaf = MSRVTTDataset(root, "train", use_audio=False, **SMALL)
    with pytest.raises(ConfigError, match="use_audio=False"):
        build_clip_features(tmp_path / "f", deaf.clips, "audio", Pairs(), "a")


def test_a_sound_set_has_no_faults(tmp_path: Path) -> None:
    root, faults, seen = write_msrvtt(tmp_path), Faults(), []
    splits = check_clips(root, faults, lambda *counts: seen.append(counts))
    assert faults.by_kind == {} and seen == [(1, 4), (2, 4), (3, 4), (4, 4), (1, 2), (2, 2)]
    train = splits["train"]
    assert (train.videos, train.captions, train.readable, train.with_audio, train.silent) == (4, 8, 4, 3, 0)
    assert train.notes[1:] == ["1 video(s) without audio, masked"]
    assert splits["test"].captions == 2


def test_all_faults_at_once(tmp_path: Path) -> None:
    root, faults = write_msrvtt(tmp_path), Faults()
    shutil.rmtree(root / "frames/video0")
    (root / "frames/video2/000003.png").write_bytes(b"torn")
    (root / "audio/video3.wav").write_bytes(b"torn")
    wavfile.write(root / "audio/video7.wav", 44100, np.full((4410, 2), 700, dtype=np.int16))
    write_wav(root / "audio/video1.wav")
    splits = check_clips(root, faults)
    found = {kind.split(" (")[0]: items for kind, items in faults.by_kind.items()}
    assert found["missing videos"] == ["video0 (audio alone)"]
    assert "000003.png" in found["unreadable videos"][0] and "video3.wav" in found["unreadable audio files"][0]
    assert (splits["train"].readable, splits["train"].with_audio) == (2, 2)
    assert splits["test"].notes[1:] == ["1 video(s) whose audio is silent, used as it is"]
    nothing = Faults()
    assert check_clips(tmp_path / "elsewhere", nothing) == {} and "annotation folders not found" in nothing.by_kind


def test_what_training_refuses_or_cannot_know_is_a_fault(tmp_path: Path) -> None:
    root, faults = write_msrvtt(tmp_path, without_audio=("video7", "video8")), Faults()
    write_csv(root / "MSRVTT_JSFUSION_test.csv", [("video8", "a"), ("video2", "b"), ("video7", "c")])
    (root / "audio/video2.wav").unlink()
    check_clips(root, faults)
    found = {kind.split(" (")[0]: items for kind, items in faults.by_kind.items()}
    shared = f"{root}: videos of MSRVTT_JSFUSION_test.csv that MSRVTT_train.9k.csv names too, expected none"
    assert found == {"splits without any audio": ["test"], shared: ["video2"]}
    with pytest.raises(DataError, match="no video has audio"):
        MSRVTTDataset(root, "test", "eval", **SMALL)
