"""Splits, captions and faulty annotation files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clip_sets import write_captions, write_csv, write_msrvtt

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.msrvtt.annotations import ClipAnnotations, read_msrvtt
from gatefuse_plugins.errors import DataError


def read(root: Path, split: str, val_videos: int = 0) -> tuple[ClipAnnotations, dict[str, list[str]]]:
    faults = Faults()
    return read_msrvtt(root, split, val_videos, faults), faults.by_kind


def test_splits(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    train, faults = read(tmp_path, "train", 1)
    assert faults == {}
    assert train.videos == ["video0", "video1", "video2"]
    assert train.captions == ["a0", "b0", "a1", "b1", "a2", "b2"] and train.target.tolist() == [0, 0, 1, 1, 2, 2]
    val, _ = read(tmp_path, "val", 1)
    assert (val.videos, val.captions, val.target.tolist()) == (["video3"], ["a3"], [0])
    test, _ = read(tmp_path, "test")
    assert test.videos == ["video7", "video8"] and test.captions == ["test of video7", "test of video8"]
    assert test.identity["name"] == "MSR-VTT 1k-A" and test.identity["embedded"] is False
    assert test.identity["digest"] != train.identity["digest"]


def test_annotations_may_lie_in_a_usual_folder(tmp_path: Path) -> None:
    write_msrvtt(tmp_path / "msrvtt_data")
    assert len(read(tmp_path, "test")[0].videos) == 2
    with pytest.raises(DataError, match=r"no MSRVTT_train.9k.csv, MSRVTT_JSFUSION_test.csv or MSRVTT_data.json"):
        read(tmp_path / "elsewhere", "test")


def test_repeated_ids_are_counted_in_training_and_refused_in_testing(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    write_csv(tmp_path / "MSRVTT_train.9k.csv", [("video0", ""), ("video0", ""), ("video1", "")])
    train, faults = read(tmp_path, "train")
    assert faults == {} and train.videos == ["video0", "video1"] and len(train.captions) == 4
    assert train.notes == ["1 video id(s) stand more than once in MSRVTT_train.9k.csv, used once"]
    write_csv(tmp_path / "MSRVTT_JSFUSION_test.csv", [("video7", "a"), ("video7", "b")])
    (items,) = read(tmp_path, "test")[1].values()
    assert items == ["video7"]


def test_all_faults_at_once(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    write_csv(tmp_path / "MSRVTT_train.9k.csv", [("video0", ""), ("video9", ""), ("", "")])
    sentences = [{"video_id": "video0", "caption": "fine"}, {"video_id": "video0"}, 7]
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps({"sentences": sentences}))
    faults = {kind.split(": ")[-1]: items for kind, items in read(tmp_path, "train")[1].items()}
    assert faults["videos without a caption"] == ["video9"]
    assert faults["lines without a video_id or a column"] == ["4"]
    assert faults["sentences without a video_id and a caption, both strings"] == ["entry 1", "entry 2"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("MSRVTT_train.9k.csv", b"key,name\n1,2\n", "lacks the column"),
        ("MSRVTT_train.9k.csv", b"video_id\n\xff\xfe\n", "unreadable"),
        ("MSRVTT_train.9k.csv", b"video_id\n", "without a single video"),
        ("MSRVTT_data.json", b'{"sentences": [', "unreadable"),
        ("MSRVTT_data.json", b"[]", "without a list 'sentences'"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    write_msrvtt(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert any(expected in kind for kind in read(tmp_path, "train")[1])


def test_missing_files_and_impossible_validation_parts(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    for split, count in (("val", 0), ("val", 4), ("train", 4), ("train", -1)):
        (kind,) = read(tmp_path, split, count)[1]
        assert kind.startswith("val_videos must lie in")
    (tmp_path / "MSRVTT_data.json").unlink()
    assert any("missing annotation files" in kind for kind in read(tmp_path, "train")[1])


def test_unusual_captions_and_shared_films_are_counted(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    pairs = [("video0", "Собака лает"), ("video1", " "), ("video2", "word " * 40), ("video3", "犬")]
    urls = {"video0": "film?v=A", "video1": "film?v=B", "video2": "film?v=B", "video3": "film?v=A"}
    write_captions(tmp_path / "MSRVTT_data.json", pairs, urls)
    notes = "; ".join(read(tmp_path, "train")[0].notes)
    assert (
        "1 empty caption" in notes and "1 caption(s) of more than" in notes and "2 caption(s) with non-Latin" in notes
    )
    assert "1 of 1 held-out videos are cut from a film that training sees too" in read(tmp_path, "val", 1)[0].notes
