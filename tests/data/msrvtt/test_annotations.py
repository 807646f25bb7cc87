"""Splits, captions and faulty annotation files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clip_sets import write_captions, write_csv, write_msrvtt

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.msrvtt.annotations import ClipAnnotations, read_msrvtt, videos_in_both
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
    assert train.notes[1:] == ["1 video id(s) stand more than once in MSRVTT_train.9k.csv, used once"]
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


HEADER = "key,vid_key,video_id,sentence\n"
TORN = [
    ("r,m,video7,a red, blue and green thing\nr,m,video8,b\n", "lines with more values than columns", "2"),
    ('r,m,video7,"a\nr,m,video8,b"\n\nr,m,video9,c\n', "rows over several lines", "3"),
    ('r,m,video7,a\n\nr,m,video8,"b\nr,m,video9,c\n', "not valid CSV", "the row after line 3: unexpected end of data"),
    ('r,m,video7,"a" dog\n', "not valid CSV", "the row after line 1: ',' expected after '\"'"),
]


@pytest.mark.parametrize(("rows", "kind", "offender"), TORN)
def test_unquoted_commas_and_open_quotes_change_no_caption(tmp_path: Path, rows: str, kind: str, offender: str) -> None:
    write_msrvtt(tmp_path)
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text(HEADER + rows)
    (fault,) = read(tmp_path, "test")[1].items()
    assert fault[0].startswith(f"{tmp_path / 'MSRVTT_JSFUSION_test.csv'}: {kind}")
    assert "expected" in fault[0] and fault[1] == [offender]


def test_quoted_captions_are_read_whole(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    rows = 'r,m,video7,"a red, ""blue"" thing"\r\nr,m,video8,say "hi"\r\n'
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_bytes((HEADER + rows).encode("utf-8-sig"))
    found, faults = read(tmp_path, "test")
    assert faults == {} and found.captions == ['a red, "blue" thing', 'say "hi"']


def test_missing_columns_are_listed_with_what_is_there(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,sentences\n1,2,3\n")
    (items,) = read(tmp_path, "test")[1].values()
    assert len(items) == 2 and items[0].startswith("video_id; did you mean ")
    assert items[1].startswith("sentence; did you mean 'sentences'")


def test_an_empty_training_file_is_one_fault(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    (tmp_path / "MSRVTT_train.9k.csv").write_text("video_id\n")
    for split in ("train", "val"):
        (kind,) = read(tmp_path, split, 1)[1]
        assert kind.startswith("annotation files without a single video")


def test_other_numbers_of_videos_and_test_videos_in_training_are_told(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    assert read(tmp_path, "train")[0].notes[0].startswith("MSRVTT_train.9k.csv names 4 videos, not 9000: figures")
    assert read(tmp_path, "test")[0].notes[0].startswith("MSRVTT_JSFUSION_test.csv names 2 videos")
    assert videos_in_both(tmp_path) == []
    write_csv(tmp_path / "MSRVTT_train.9k.csv", [(f"video{i}", "") for i in range(9000)])
    assert not any("do not compare" in note for note in read(tmp_path, "train")[0].notes)
    assert videos_in_both(tmp_path) == ["video7", "video8"]
    (tmp_path / "MSRVTT_train.9k.csv").unlink()
    assert videos_in_both(tmp_path) == []


def test_a_byte_order_mark_and_malformed_sources_are_passed_over(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    content = json.loads((tmp_path / "MSRVTT_data.json").read_text())
    content["videos"] = [{"video_id": ["video0"], "url": "A"}, {"video_id": "video3", "url": "A"}, 5]
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(content), encoding="utf-8-sig")
    found, faults = read(tmp_path, "val", 1)
    assert faults == {} and found.captions == ["a3"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("MSRVTT_train.9k.csv", b"key,name\n1,2\n", "the first line lacks columns, expected video_id"),
        ("MSRVTT_train.9k.csv", b"video_id\n\xff\xfe\n", "unreadable"),
        ("MSRVTT_train.9k.csv", b"video_id\n", "without a single video"),
        ("MSRVTT_train.9k.csv", b"", "the first line lacks columns, expected video_id"),
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
