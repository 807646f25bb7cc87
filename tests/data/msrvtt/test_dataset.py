"""Batches for training and evaluation, videos without audio, and what the dataset refuses."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_sets import SMALL, write_csv, write_frames, write_msrvtt, write_wav

from gatefuse_plugins.data.msrvtt import MSRVTTDataset, read_waveform, spectrogram
from gatefuse_plugins.data.transforms import CLIP_MEAN, CLIP_STD
from gatefuse_plugins.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_msrvtt(tmp_path / "set")


def test_training_batch(root: Path) -> None:
    dataset = MSRVTTDataset(root, "train", **SMALL)
    assert len(dataset) == 8
    batch = dataset[[0, 1, 6, 2]]
    assert batch["text"] == ["a0", "b0", "a3", "a1"]
    assert batch["video_id"].tolist() == [0, 0, 3, 1] and batch["sample_index"].tolist() == [0, 1, 6, 2]
    assert batch["video"].shape == (4, 4, 3, 8, 8) and batch["video_mask"].all()
    # frames 1, 2, 3, 5 of 5: brightness 0, 20, 40, 80
    red = batch["video"][0, :, 0, 4, 4] * CLIP_STD[0] + CLIP_MEAN[0]
    torch.testing.assert_close(red * 255, torch.tensor([0.0, 20.0, 40.0, 80.0]), atol=1e-3, rtol=0)
    expected, length = spectrogram(read_waveform(root / "audio/video0.wav", 8000), dataset.clips.settings)
    torch.testing.assert_close(batch["audio"][1], expected)
    assert batch["audio_mask"].sum(1).tolist() == [length, length, length, 0]
    assert (batch["audio"][3] == 0).all()


def test_evaluation_items_are_videos_then_texts(root: Path) -> None:
    dataset = MSRVTTDataset(root, "test", "eval", **SMALL)
    info = dataset.metainfo
    assert len(dataset) == 4 and info["gallery"] == ["video7", "video8"] and info["target"].tolist() == [0, 1]
    assert info["has_audio"].tolist() == [True, True] and info["captions"] == ["test of video7", "test of video8"]
    batch = dataset[[1, 3, 2]]
    assert batch["video_index"].tolist() == [1] and len(batch["video"]) == len(batch["audio"]) == 1
    assert batch["text"] == ["test of video8", "test of video7"] and batch["text_index"].tolist() == [1, 0]
    assert set(dataset[[2]]) == {"text", "text_index"}
    with pytest.raises(IndexError, match=r"0\.\.3"):
        dataset[[4]]


def test_short_videos_are_padded_and_one_frame_is_enough(root: Path) -> None:
    shutil.rmtree(root / "frames/video1")
    write_frames(root / "frames/video1", count=1)
    batch = MSRVTTDataset(root, "train", **SMALL)[[0, 2]]
    assert batch["video_mask"].tolist() == [[True] * 4, [True, False, False, False]]
    assert (batch["video"][1, 1:] == 0).all()


def test_missing_audio_is_counted_and_a_batch_of_it_is_well_formed(root: Path, capsys) -> None:
    dataset = MSRVTTDataset(root, "train", **SMALL)
    assert dataset.notes[1:] == ["1 of 4 videos have no audio, their audio is masked"]
    batch = dataset[[2, 3]]
    assert batch["audio"].shape == (2, 20, 6) and not batch["audio_mask"].any() and (batch["audio"] == 0).all()
    silent = MSRVTTDataset(root, "train", use_audio=False, **SMALL)
    assert len(silent.notes) == 1 and "audio" not in silent[[0]]


def test_clips_are_kept_in_memory_on_request(root: Path) -> None:
    dataset = MSRVTTDataset(root, "train", keep_in_memory=True, **SMALL)
    first = dataset[[0, 2]]
    shutil.rmtree(root / "frames")
    again = dataset[[0, 2]]
    assert all(torch.equal(first[key], again[key]) for key in ("video", "audio", "audio_mask"))
    with pytest.raises(DataError, match="video3: no such video file"):
        dataset[[6]]


def test_missing_and_hollow_videos_are_listed_together(root: Path) -> None:
    shutil.rmtree(root / "frames/video0")
    shutil.rmtree(root / "frames/video2")
    (root / "frames/video2").mkdir()
    with pytest.raises(DataError, match=r"(?s)nothing lies in .*: video0\n.*without a single picture \(1\): .*video2"):
        MSRVTTDataset(root, "train", **SMALL)


def test_unreadable_clips_of_a_batch_are_listed_together(root: Path) -> None:
    (root / "frames/video0/000001.png").write_bytes(b"torn")
    (root / "audio/video3.wav").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"(?s)2 fault\(s\).*000001.png.*video3.wav"):
        MSRVTTDataset(root, "train", **SMALL)[[0, 6]]


def test_options_are_checked(root: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        MSRVTTDataset(root, "trian", **SMALL)
    with pytest.raises(ConfigError, match="num_frames=0"):
        MSRVTTDataset(root, **(SMALL | {"num_frames": 0}))
    with pytest.raises(ConfigError, match=r"val_videos=2\.0, expected a whole number of at least 0; nearest: 2"):
        MSRVTTDataset(root, val_videos=2.0, **SMALL)
    with pytest.raises(DataError, match="use_audio=False trains on the video alone"):
        MSRVTTDataset(root, audio_folder=root / "frames", **SMALL)
    with pytest.raises(DataError, match="no such folder"):
        MSRVTTDataset(root, video_folder=root / "films", **SMALL)
    bare = MSRVTTDataset(root, annotations_only=True, **SMALL)
    assert bare.metainfo["captions"][0] == "a0"
    with pytest.raises(ConfigError, match="annotations_only"):
        bare[[0]]


def test_test_videos_in_the_training_file_are_noted(root: Path) -> None:
    write_csv(root / "MSRVTT_JSFUSION_test.csv", [("video7", "a"), ("video3", "b")])
    note = "1 test video(s) are in the training file too: test figures will flatter"
    for split, count in (("train", 1), ("val", 0), ("test", 1)):
        dataset = MSRVTTDataset(root, split, "eval", val_videos=1, annotations_only=True, **SMALL)
        assert dataset.notes.count(note) == count


def test_other_folders_features_and_pickling(root: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "sound/video0.wav", seconds=0.1)
    dataset = MSRVTTDataset(root, audio_folder=tmp_path / "sound", **SMALL)
    assert dataset.metainfo["has_audio"].tolist() == [True, False, False, False]
    features = tmp_path / "features"
    features.mkdir()
    for i in range(4):
        np.save(features / f"video{i}.npy", np.full((6 if i else 2, 3), i, dtype=np.float16))
    dataset = pickle.loads(pickle.dumps(MSRVTTDataset(root, video_features=features, **SMALL)))
    batch = dataset[[0, 7]]
    assert batch["video"].shape == (2, 4, 3) and batch["video_mask"].sum(1).tolist() == [2, 4]
    assert (batch["video"][1] == 3).all() and batch["video"].dtype == torch.float32
    np.save(features / "video3.npy", np.full((6, 5), 3.0))
    with pytest.raises(DataError, match=r"video0 \(3,\), video3 \(5,\)"):
        dataset[[0, 7]]
    np.save(features / "video3.npy", np.full((6, 3), np.nan))
    with pytest.raises(DataError, match="NaN or infinity"):
        dataset[[7]]
