"""Embedded event sets on disk: their layouts, and reading them back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gatefuse_plugins.data.base_annotations import MARKER
from gatefuse_plugins.data.events import (
    EventSetConfig,
    make_qvhighlights_events,
    make_tvsum_events,
    off_topic_mask,
    query_kinds,
    store,
)
from gatefuse_plugins.errors import ConfigError, DataError

SMALL = EventSetConfig(num_train_videos=10, num_val_videos=5, num_test_videos=3)


def load_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("events") / "qvhighlights"
    make_qvhighlights_events(root, SMALL)
    return root


@pytest.fixture(scope="module")
def tvsum(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("events") / "tvsum"
    make_tvsum_events(root, EventSetConfig(num_train_videos=40, num_val_videos=10))
    return root


@pytest.mark.parametrize(("split", "videos"), [("train", 10), ("val", 5), ("test", 3)])
def test_qvhighlights_layout(events, split, videos):
    entries = load_lines(events / f"highlight_{split}_release.jsonl")
    assert len(entries) == 5 * videos and len({entry["vid"] for entry in entries}) == videos
    mask = off_topic_mask(events)
    for entry in entries:
        clips = entry["duration"] // 2
        folder, vid = events / "features", entry["vid"]
        motion = np.load(folder / "slowfast_features" / f"{vid}.npz")["features"]
        appearance = np.load(folder / "clip_features" / f"{vid}.npz")["features"]
        audio = np.load(folder / "pann_features" / f"{vid}.npy")
        text = np.load(folder / "clip_text_features" / f"qid{entry['qid']}.npz")
        assert 30 <= clips <= 50 and mask[vid].shape == (clips,)
        assert [array.shape for array in (motion, appearance, audio)] == [(clips, 64), (clips, 32), (clips, 48)]
        assert text["last_hidden_state"].shape == (len(entry["query"].split()), 32)
        np.testing.assert_allclose(text["pooler_output"], text["last_hidden_state"].mean(0), atol=1e-6)
        for array in (motion, appearance, audio, *text.values()):
            assert array.dtype == np.float32 and np.isfinite(array).all()
        assert ("relevant_windows" in entry) == (split != "test")


def test_test_labels_lie_apart(events):
    bare = load_lines(events / "highlight_test_release.jsonl")
    labelled = load_lines(events / "highlight_test_with_gt.jsonl")
    assert [{key: entry[key] for key in bare[0]} for entry in labelled] == bare
    assert all(entry["relevant_windows"] for entry in labelled)


def test_query_ids_are_unique_and_every_split_has_every_kind(events):
    kinds = {split: query_kinds(events, split) for split in ("train", "val", "test")}
    assert sorted(qid for split in kinds.values() for qid in split) == list(range(1, 91))
    assert all(set(split.values()) == {"sound", "sight", "both"} for split in kinds.values())


def test_tvsum_layout(tvsum):
    identity = json.loads((tvsum / MARKER).read_text())
    assert (identity["name"], identity["layout"]) == ("embedded audio-visual events (not TVSum)", "tvsum")
    mask = off_topic_mask(tvsum)
    for split, videos in (("train", 4), ("val", 1)):
        entries = load_lines(tvsum / f"tvsum_{split}.jsonl")
        domains = [entry["domain"] for entry in entries]
        assert sorted(domains) == sorted(["BK", "BT", "DS", "FM", "GA", "MS", "PK", "PR", "VT", "VU"] * videos)
        for entry in entries:
            label, vid = np.asarray(entry["label"]), entry["vid"]
            folder = tvsum / "features" / "tvsum"
            assert entry["qid"] == vid and label.shape == (entry["duration"], 20) and mask[vid].shape == label.shape[:1]
            assert label.min() >= 1 and label.max() <= 5 and label.mean(1).std() > 0.2
            shapes = {
                "video_features": [(f"{vid}_rgb.npy", 32), (f"{vid}_opt.npy", 64)],
                "audio_features": [(f"{vid}.npy", 48)],
            }
            for name, files in shapes.items():
                for file, width in files:
                    assert np.load(folder / name / file).shape == (len(label), width)
            token = np.load(folder / "query_features" / f"{vid}.npz")["token"]
            assert token.shape == (len(entry["query"].split()), 32)


def test_a_default_set_stays_below_sixty_megabytes(events):
    default = EventSetConfig()
    ratio = (default.num_train_videos + default.num_val_videos + default.num_test_videos) / 18
    blocks = sum(-(-path.stat().st_size // 4096) * 4096 for path in events.rglob("*") if path.is_file())
    assert 10e6 < blocks * ratio < 60e6


def test_readers_say_what_is_wrong(events, tmp_path):
    with pytest.raises(DataError, match="no such file; expected an embedded set"):
        off_topic_mask(tmp_path)
    with pytest.raises(DataError, match="did you mean 'highlight_val_release.jsonl'"):
        query_kinds(events, "vall")
    (tmp_path / store.OFF_TOPIC).write_text('{"a": [0, 1], "b": [2]}')
    with pytest.raises(DataError, match="b .* is no list of 0 and 1"):
        off_topic_mask(tmp_path)
    lines = tmp_path / "highlight_val_release.jsonl"
    lines.write_text('{"qid": 1, "query_kind": "sound"}\n{"qid": 2, "query_kind": "sond"}\n')
    with pytest.raises(DataError, match=":2: query_kind 'sond' is unknown; did you mean 'sound'"):
        query_kinds(tmp_path, "val")
    lines.write_text('{"qid": 1, "query_kind": "sound"}\n{"qid": 2, "que')
    with pytest.raises(DataError, match=":2: expected an object with qid and query_kind"):
        query_kinds(tmp_path, "val")


def test_config_faults_are_listed_together():
    with pytest.raises(ConfigError, match=r"queries_per_video=9 .*nearest: 8; audio_width=4 .*nearest: 16; num_val"):
        EventSetConfig(queries_per_video=9, audio_width=4, num_val_videos=0)
    with pytest.raises(ConfigError, match=r"min_clips=60, max_clips=50 must satisfy 20 <= min_clips"):
        EventSetConfig(min_clips=60)
    with pytest.raises(ConfigError, match=r"video_noise=nan must be finite"):
        EventSetConfig(video_noise=float("nan"))
