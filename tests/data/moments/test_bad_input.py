from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from moment_sets import moment_record, write_lines, write_qvhighlights

from gatefuse_plugins.data import QVHighlightsDataset
from gatefuse_plugins.errors import ConfigError, DataError


def message(root: Path, fetch: bool = False, **options: object) -> str:
    with pytest.raises(DataError) as error:
        data = QVHighlightsDataset(root, audio_features="auto", **options)
        assert fetch, "the constructor has to raise"
        data[list(range(len(data)))]
    return str(error.value)


def test_every_annotation_fault_is_listed_with_its_line(tmp_path: Path) -> None:
    lines = [
        moment_record(1, "a"),
        json.dumps(moment_record(2, "a"))[:70],
        moment_record(1, "a"),
        moment_record(4, "a", relevant_windows=[[30, 40]]),
        moment_record(5, "a", relevant_windows=[[8, 4], [-2, 4]]),
        moment_record(6, "a", saliency_scores=[[1, 1, 1]]),
        moment_record(7, "a", relevant_clip_ids=[2, 3, 4, 10]),
        moment_record(8, "", duration=0),
        moment_record(9, "a", duration=float("nan")),
        moment_record(10, "a", relevant_windows=[[4, float("inf")]]),
        "[1, 2]",
    ]
    write_lines(tmp_path / "highlight_train_release.jsonl", lines)
    found = message(tmp_path)
    for part in (
        "line 2 (",
        "line 3 (qid 1 of line 1)",
        "windows outside the duration (2): line 4 (qid 4) [30, 40] of 20 s, line 5 (qid 5) [-2, 4]",
        "do not start before they end (1): line 5 (qid 5) [8, 4]",
        "line 6 (qid 6): 1 for 4 clips",
        "line 7 (qid 7): 2..10, 4 of them",
        "whose vid is not a non-empty text (1): line 8 ('')",
        "duration is not a positive number (2): line 8 (0), line 9 (nan)",
        "no list of [start, end] in seconds (1): line 10",
        "line 11 (list)",
    ):
        assert part in found, part


def test_window_past_the_duration_is_clipped_and_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_qvhighlights(tmp_path, [moment_record(1, "a", relevant_windows=[[16, 23]])])
    data = QVHighlightsDataset(tmp_path)
    np.testing.assert_allclose(data[0]["spans"][0], [[0.9, 0.2]], rtol=1e-6)
    assert data.metainfo["annotations"][0]["relevant_windows"] == [[16, 23]]  # metrics see what was annotated
    assert "1 window(s) end after the duration" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (np.array([[1.0, np.nan, 0, 0]] * 10), "10 NaN or infinite values, the first in row 0"),
        (np.array([[1.0, np.inf, 0, 0]] * 10), "NaN or infinite"),
        (np.array([[1e300, 0, 0, 0]] * 10), "NaN or infinite"),
        (np.ones((10, 3)), "a.npz: 3 features, expected 4"),
        (np.ones(10), "float64 of shape (10,), expected floats (rows, features)"),
        (np.ones((10, 4), dtype=int), "int64 of shape"),
        (np.zeros((0, 4)), "no rows (shape (0, 4)), expected at least one clip"),
        (np.ones((5, 4)), "a (qid 7): 5 clips, stated 10"),
        (np.array([[{}]]), "unreadable"),
    ],
)
def test_unusable_video_features(tmp_path: Path, values: np.ndarray, part: str) -> None:
    write_qvhighlights(tmp_path, [moment_record(3, "b"), moment_record(7, "a")])
    np.savez(tmp_path / "features/clip_features/a.npz", features=values)
    assert part in message(tmp_path, fetch=True)


def test_unreadable_files_are_all_named(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    folder = tmp_path / "features"
    whole = (folder / "clip_features/b.npz").read_bytes()
    (folder / "clip_features/b.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(folder / "slowfast_features/a.npz", feature=np.ones((10, 6)))
    found = message(tmp_path, fetch=True)  # the first file, read for its width, names itself
    assert "slowfast_features/a.npz: holds feature, expected key 'features'; did you mean 'feature'?" in found
    write_qvhighlights(tmp_path)
    (folder / "clip_features/b.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "pann_features/b.npy").write_bytes(b"")
    np.savez(folder / "clip_text_features/qid9.npz", last_hidden_state=np.zeros((0, 3)))
    found = message(tmp_path, fetch=True)
    assert "clip_features/b.npz: unreadable" in found and "qid9.npz: no rows" in found


def test_missing_features_and_folders_are_all_named(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path, [moment_record(1, "a"), moment_record(2, "b")])
    folder = tmp_path / "features"
    (folder / "clip_features/a.npz").unlink()
    (folder / "clip_text_features/qid2.npz").unlink()
    found = message(tmp_path)
    assert "clip_features: items without video features (1): a" in found
    assert "clip_text_features: items without text features (1): 2" in found  # a qid that nothing knows
    (folder / "slowfast_features").rename(folder / "slowfast")
    found = message(tmp_path)
    assert "slowfast_features or umt_slowfast_features in one of" in found
    (tmp_path / "highlight_train_release.jsonl").unlink()
    assert "annotation files not found" in message(tmp_path)


def test_one_clip_and_ten_thousand_clips(tmp_path: Path) -> None:
    one = {"relevant_clip_ids": [0], "saliency_scores": [[1, 2, 3]], "relevant_windows": [[0, 2]]}
    write_qvhighlights(tmp_path, [moment_record(1, "short", 1, **one), moment_record(2, "long", 10_000)])
    batch = QVHighlightsDataset(tmp_path, max_v_l=10_000)[[0, 1]]
    assert batch["video"].shape == (2, 10_000, 12) and batch["video_mask"].sum(1).tolist() == [1, 10_000]
    assert batch["video"][0, 0, -2:].tolist() == [0.0, 1.0]
    assert batch["spans"][0].tolist() == [[0.5, 1.0]]
    assert batch["saliency_pos"][0].tolist() == batch["saliency_neg"][0].tolist() == [0, 0]
    assert batch["spans"][1][0, 1] == pytest.approx(6 / 20_000)
    assert QVHighlightsDataset(tmp_path, max_v_l=75)[[1]]["video"].shape == (1, 75, 12)


def test_windows_beyond_the_cut(tmp_path: Path) -> None:
    late = moment_record(2, "long", 100, relevant_windows=[[20, 24]], relevant_clip_ids=[10], saliency_scores=[[1]])
    write_qvhighlights(tmp_path, [moment_record(1, "long", 100), late])
    assert "whose windows all start after max_v_l=5 clips; raise it (1): qid 2" in message(tmp_path, max_v_l=5)
    batch = QVHighlightsDataset(tmp_path, max_v_l=5, data_ratio=0.5)[0]
    np.testing.assert_allclose(batch["spans"][0], [[0.7, 0.6]], rtol=1e-6)  # [4, 10] of 10 s; [14, 16] is out
    assert batch["saliency_labels"].tolist() == [[0, 0, 6, 12, 2]]


@pytest.mark.parametrize("options", [{"max_v_l": 0}, {"data_ratio": 1.5}, {"clip_length": 0}, {"role": "test"}])
def test_options_out_of_range(tmp_path: Path, options: dict[str, object]) -> None:
    write_qvhighlights(tmp_path)
    with pytest.raises(ConfigError, match=next(iter(options))):
        QVHighlightsDataset(tmp_path, **options)


def test_indices_out_of_range(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    for indices in ([], [3], [-1]):
        with pytest.raises(IndexError, match=r"0\.\.2"):
            QVHighlightsDataset(tmp_path)[indices]
