from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from moment_sets import moment_record, write_lines, write_qvhighlights, write_tvsum

from gatefuse_plugins.data.checker import check_dataset
from gatefuse_plugins.data.moments import pack_folder
from gatefuse_plugins.data.moments.sources import FeatureSource

ROOT = Path(__file__).resolve().parents[3]


def faults_of(kind: str, root: Path) -> dict[str, list[str]]:
    """Fault -> offenders, with the folder's path shortened to its name."""
    found = check_dataset(kind, root).faults
    return {kind.replace(f"{root}/", "").replace("features/", ""): items for kind, items in found.items()}


def test_sound_set_has_no_faults_and_is_counted(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_qvhighlights(tmp_path, split=split, prefix="umt_")
    report = check_dataset("qvhighlights", tmp_path)
    assert report.ok, report.faults
    train = report.splits["train"]
    assert (train.queries, train.videos) == (3, 2)
    counts = train.sources[str(tmp_path / "features/umt_pann_features")]
    assert (counts.items, counts.readable, counts.rows, counts.width) == (2, 2, (10, 12), 5)
    assert report.splits["test"].notes == ["not there; optional"]
    json.dumps(report.to_dict())


def test_all_faults_at_once(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path, [moment_record(q, f"v{q}") for q in range(8)])
    features, broken = tmp_path / "features", "{}/features/clip_features/v{}.npz".format
    (features / "clip_features/v0.npz").unlink()
    (features / "clip_features/deep").mkdir()
    (features / "clip_features/v1.npz").rename(features / "clip_features/deep/v1.npz")
    np.savez(broken(tmp_path, 2), features=np.full((10, 4), np.inf))
    np.savez(broken(tmp_path, 3), features=np.ones((10, 9)))
    np.savez(broken(tmp_path, 4), features=np.ones((6, 4)))
    Path(broken(tmp_path, 5)).write_bytes(b"PK")
    np.save(features / "pann_features/v6.npy", np.ones((10,)))
    np.savez(features / "clip_text_features/qid7.npz", last_hidden_state=np.ones((0, 3)))
    write_lines(tmp_path / "highlight_val_release.jsonl", [moment_record(1, "v7", relevant_windows=[[6, 2]]), '{"qid"'])
    faults = faults_of("qvhighlights", tmp_path)
    assert faults["clip_features: missing feature files"] == ["v0.npz"]
    (mislaid,) = faults["mislaid feature files (expected -> found)"]
    assert mislaid.endswith("clip_features/deep/v1.npz")
    unusable = "\n".join(faults["clip_features: feature files that cannot be used"])
    assert "v2.npz: 40 NaN or infinite" in unusable and "v5.npz: unreadable" in unusable
    assert faults["clip_features: features of another width than 4, the usual one"] == ["v3: 9"]
    assert faults["clip_features: clips that contradict the annotation by more than 2"] == ["v4: 6, stated 10"]
    assert "v6.npy: float64 of shape (10,)" in faults["pann_features: feature files that cannot be used"][0]
    assert "qid7.npz: no rows" in faults["clip_text_features: feature files that cannot be used"][0]
    assert faults["highlight_val_release.jsonl: windows that do not start before they end"]
    assert faults["highlight_val_release.jsonl: lines that are no whole JSON object"][0].startswith("line 2")


def test_absent_folders_and_files(tmp_path: Path) -> None:
    faults = faults_of("qvhighlights", tmp_path)
    assert len(faults["annotation files not found"]) == 2
    assert sum("feature folders not found" in kind for kind in faults) == 2


def test_tvsum(tmp_path: Path) -> None:
    record = {"qid": "a", "query": "t", "vid": "a", "duration": 5, "domain": "BK", "label": [[1.0] * 20] * 5}
    for split in ("train", "val"):
        write_tvsum(tmp_path, [record], split)
    assert check_dataset("tvsum", tmp_path).ok
    (tmp_path / "features/tvsum/video_features/a_opt.npy").unlink()
    np.save(tmp_path / "features/tvsum/audio_features/a.npy", np.ones((9, 5)))
    faults = faults_of("tvsum", tmp_path)
    assert faults["tvsum/video_features: missing feature files"] == ["a_opt.npy"] * 2  # of train and of val
    assert faults["tvsum/audio_features: clips that contradict the annotation by more than 2"][0] == "a: 9, stated 5"


def test_packed_stores_are_verified(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_qvhighlights(tmp_path, split=split)
    clip = FeatureSource.of("qvhighlights", "video", tmp_path / "features/clip_features")
    pack_folder(clip, tmp_path / "packed", "float32")
    assert check_dataset("qvhighlights", tmp_path, tmp_path / "packed").ok
    norms = tmp_path / "packed/clip_features/norms.bin"
    norms.write_bytes(bytes(norms.stat().st_size))
    (kind,) = check_dataset("qvhighlights", tmp_path, tmp_path / "packed").faults.items()
    assert "checksum" in kind[0] and kind[1] == ["a", "b"]
    (kind,) = check_dataset("qvhighlights", tmp_path, tmp_path / "nothing").faults
    assert "without a packed store" in kind


def test_tool_reports_and_exits_with_one(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    out = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "tools/check_data.py"), "qvhighlights", str(tmp_path), "--json", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "annotation files not found" in result.stdout
    report = json.loads(out.read_text())
    assert report["splits"]["train"]["queries"] == 3 and not report["ok"]
