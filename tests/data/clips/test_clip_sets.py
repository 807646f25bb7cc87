"""Embedded clips on disk: layout, determinism, hard negatives, and what happens to folders that are there already."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.clips import (
    ClipSetConfig,
    caption_kinds,
    caption_words,
    clip_attributes,
    make_msrvtt_clips,
    store,
)
from gatefuse_plugins.data.clips.drawing import draw_videos
from gatefuse_plugins.data.clips.vocabulary import PITCHES, RHYTHMS, TIMBRES
from gatefuse_plugins.data.msrvtt import MSRVTTDataset, check_clips
from gatefuse_plugins.errors import ConfigError, DataError

SMALL = ClipSetConfig(num_train_videos=26, num_test_videos=13, captions_per_video=3, num_frames=2, image_size=16)


def tree_digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    listing = [f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("clips") / "set"
    make_msrvtt_clips(root, SMALL)
    return root


def test_layout(clips: Path) -> None:
    with open(clips / "MSRVTT_JSFUSION_test.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["video_id"] for row in rows] == [f"video{26 + i}" for i in range(13)]
    assert rows[0] | {"sentence": ""} == {"key": "ret0", "vid_key": "msr26", "video_id": "video26", "sentence": ""}
    content = json.loads((clips / "MSRVTT_data.json").read_text())
    counts = Counter(entry["video_id"] for entry in content["sentences"])
    assert counts["video0"] == 3 and counts["video26"] == 1 and len(counts) == 39
    assert Image.open(clips / "frames/video38/000002.png").size == (16, 16)
    rate, samples = wavfile.read(clips / "audio/video0.wav")
    assert rate == 8000 and samples.dtype == np.int16 and samples.shape == (8000,)
    assert len(list((clips / "audio").iterdir())) == 36  # one of 13 videos has none


def test_the_dataset_and_the_checker_read_it(clips: Path) -> None:
    faults = Faults()
    splits = check_clips(clips, faults)
    assert faults.by_kind == {} and splits["train"].with_audio == 24 and splits["train"].captions == 78
    sizes = {"num_frames": 2, "frame_size": 16, "sample_rate": 8000, "num_mel_bins": 8, "audio_length": 100}
    dataset = MSRVTTDataset(clips, "train", val_videos=13, **sizes)
    identity = dataset.metainfo["identity"]
    assert identity["embedded"] is True and identity["name"] == "embedded clips with sound (not MSR-VTT)"
    assert len(dataset) == 39 and dataset.notes == ["1 of 13 videos have no audio, their audio is masked"]
    assert dataset[[0]]["audio_mask"].sum() == 98


def test_families_share_looks_and_sounds(clips: Path) -> None:
    families = defaultdict(list)
    for name, entry in clip_attributes(clips).items():
        families[entry["split"], entry["family"]].append((name, entry))
    sizes = Counter(len(members) for members in families.values())
    assert sizes == {4: 9, 1: 3}
    for members in families.values():
        looks = Counter(json.dumps(entry["look"]) for _, entry in members)
        sounds = Counter(json.dumps(entry["sound"]) for _, entry in members)
        if len(members) == 4:
            assert list(looks.values()) == [2, 2] and list(sounds.values()) == [2, 2]
        else:
            assert members[0][1]["sound"] is None and not (clips / f"audio/{members[0][0]}.wav").exists()


def test_no_pair_of_look_and_sound_occurs_twice_in_the_default_set() -> None:
    videos = draw_videos(ClipSetConfig())
    assert len({(video.look, video.sound) for video in videos}) == len(videos) == 900
    assert sum(video.sound is None for video in videos) == 53 + 15
    kinds = Counter(video.captions[0][0] for video in videos if video.split == "test")
    assert kinds["both"] > 100 and min(kinds["sight"], kinds["sound"]) >= 35


def test_captions_say_what_is_there(clips: Path) -> None:
    kinds, attributes = caption_kinds(clips), clip_attributes(clips)
    words = set(caption_words())
    for (name, caption), kind in kinds.items():
        sound = attributes[name]["sound"]
        heard = sound is not None and all(
            choices[sound[key]] in caption
            for key, choices in (("timbre", TIMBRES), ("pitch", PITCHES), ("rhythm", RHYTHMS))
        )
        assert heard == (kind != "sight")
        assert ("moving" in caption or "standing" in caption) == (kind != "sound")
        assert set(caption.split()) <= words
    assert set(kinds.values()) == {"sight", "sound", "both"}


def test_pitches_can_be_told_apart_by_their_spectrum(clips: Path) -> None:
    attributes = clip_attributes(clips)
    frequencies = {}
    for name, entry in attributes.items():
        if entry["sound"] is not None and TIMBRES[entry["sound"]["timbre"]] in ("tone", "hiss", "siren"):
            samples = wavfile.read(clips / f"audio/{name}.wav")[1].astype(float)
            power = np.abs(np.fft.rfft(samples)) ** 2
            centre = (power * np.fft.rfftfreq(len(samples), 1 / 8000)).sum() / power.sum()
            frequencies.setdefault(PITCHES[entry["sound"]["pitch"]], []).append(centre)
    assert max(frequencies["low"]) < min(frequencies["middle"]) < max(frequencies["middle"]) < min(frequencies["high"])


def test_the_same_config_gives_the_same_bytes_and_another_seed_does_not(clips: Path, tmp_path: Path) -> None:
    identity = make_msrvtt_clips(tmp_path / "again", SMALL)
    assert tree_digest(tmp_path / "again") == tree_digest(clips) and len(identity["digest"]) == 64
    other = ClipSetConfig(**(identity["config"] | {"seed": 1}))
    assert make_msrvtt_clips(tmp_path / "other", other)["digest"] != identity["digest"]


def test_generator_version_pins_what_the_config_gives(clips: Path) -> None:
    """Fails when the generator changes: raise GENERATOR_VERSION and this digest together."""
    captions = (clips / "MSRVTT_data.json").read_bytes()
    pixels = Image.open(clips / "frames/video3/000002.png").tobytes()
    assert store.GENERATOR_VERSION == 1
    assert hashlib.sha256(captions + pixels).hexdigest()[:16] == "a2e1fb8c22fd5060"


def test_a_complete_set_is_kept_and_an_interrupted_one_leaves_nothing(clips: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    identity = make_msrvtt_clips(clips, SMALL, lambda *counts: calls.append(counts))
    assert calls == [] and identity == json.loads((clips / "gatefuse_dataset.json").read_text())

    def interrupt(done: int, total: int) -> None:
        assert total == 39
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_msrvtt_clips(tmp_path / "set", SMALL, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_hold_anything_else_are_never_overwritten(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="holds mine.txt, which is no embedded set"):
        make_msrvtt_clips(tmp_path, SMALL)
    with pytest.raises(DataError, match="is a file"):
        make_msrvtt_clips(tmp_path / "mine.txt", SMALL)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    with pytest.raises(DataError, match=r"holds another embedded set.*'num_train_videos': 26"):
        make_msrvtt_clips(clips, ClipSetConfig(num_train_videos=27))


def test_changed_annotations_are_noticed(tmp_path: Path) -> None:
    tiny = ClipSetConfig(num_train_videos=1, num_test_videos=1, num_frames=1, image_size=16)
    make_msrvtt_clips(tmp_path / "set", tiny)
    table = tmp_path / "set/MSRVTT_train.9k.csv"
    table.write_text(table.read_text() + "ret9,msr9,video9,more\n")
    with pytest.raises(DataError, match="no longer match"):
        make_msrvtt_clips(tmp_path / "set", tiny)
    table.unlink()
    with pytest.raises(DataError, match="missing from the embedded set"):
        make_msrvtt_clips(tmp_path / "set", tiny)
    with pytest.raises(DataError, match="expected an embedded set"):
        clip_attributes(tmp_path)


def test_config_faults_are_listed_together() -> None:
    with pytest.raises(ConfigError, match=r"num_train_videos=0 .*nearest: 1; image_size=8 .*nearest: 16; seconds=20"):
        ClipSetConfig(num_train_videos=0, image_size=8, seconds=20)
