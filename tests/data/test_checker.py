from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from data_sets import cirr_record, write_cirr, write_fashioniq

from gatefuse_plugins.data.checker import check_dataset
from gatefuse_plugins.data.clips import ClipSetConfig, make_msrvtt_clips
from gatefuse_plugins.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_sound_set_has_no_faults(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_fashioniq(tmp_path, split)
    report = check_dataset("fashioniq", tmp_path)
    assert report.ok and report.faults == {}
    assert report.splits["val"].width == (12, 12) and report.splits["val"].height == (9, 9)
    assert (report.splits["train"].images, report.splits["train"].queries) == (9, 3)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    write_cirr(tmp_path, "train", records=[cirr_record(1, 0, 0, 1) | {"reference": "dangling"}])
    write_cirr(tmp_path, "val")
    (tmp_path / "dev/dev-0-0.png").rename(tmp_path / "dev/dev-0-0.jpg")
    (tmp_path / "dev/dev").mkdir()
    (tmp_path / "dev/dev-0-1.png").rename(tmp_path / "dev/dev/dev-0-1.png")
    (tmp_path / "dev/dev-0-2.png").unlink()
    (tmp_path / "dev/dev-0-3.png").write_bytes(b"broken")
    return tmp_path


def test_all_faults_at_once(faulty: Path) -> None:
    faults = check_dataset("cirr", faulty).faults
    found = {kind.split(" (")[0]: items for kind, items in faults.items()}
    assert found["images under another extension"][0].endswith("dev-0-0.jpg")
    assert found["mislaid images"][0].endswith("dev/dev/dev-0-1.png")
    assert found["missing images"][0].endswith("dev-0-2.png")
    assert "dev-0-3.png" in found["unreadable images"][0]
    assert any(items == ["dangling"] for items in faults.values())


def test_embedded_clips_are_sound_and_a_torn_file_is_named(tmp_path: Path) -> None:
    config = ClipSetConfig(num_train_videos=13, num_test_videos=2, captions_per_video=2, num_frames=1, image_size=16)
    make_msrvtt_clips(tmp_path, config)
    report = check_dataset("msrvtt", tmp_path)
    assert report.ok and report.to_dict()["splits"]["train"]["with_audio"] == 12
    (tmp_path / "frames/video0/000001.png").write_bytes(b"torn")
    command = [sys.executable, str(ROOT / "tools/check_data.py"), "msrvtt", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "unreadable videos" in result.stdout and "with audio" in result.stdout
    with pytest.raises(ConfigError, match="of msrvtt only clips are checked"):
        check_dataset("msrvtt", tmp_path, features=tmp_path)


def test_features_of_wrong_dimensions_and_without_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_fashioniq(tmp_path / "set", split)
    folder = tmp_path / "features/key"
    folder.mkdir(parents=True)
    header = {"format": 1, "encoder_digest": "d", "transform": "[]", "dtype": "float32", "num_tokens": 3, "width": 4}
    (folder / "cache.json").write_text(json.dumps(header))
    (folder / "names-0.json").write_text(json.dumps({"rows": {"dress0": 0, "dress1": 1}}))
    (folder / "features.bin").write_bytes(bytes(2 * 5 * 4 * 4))  # two rows of 5 x 4 where 3 x 4 is stated
    faults = check_dataset("fashioniq", tmp_path / "set", tmp_path / "features").faults
    (wrong,) = faults["features of wrong dimensions"]
    assert "160 bytes, no rows of 3 x 4 float32 = 48 bytes" in wrong
    (absent,) = (items for kind, items in faults.items() if kind.startswith("images without features"))
    assert absent == ["shared", "shirt0", "shirt1", "toptee0", "toptee1"]


def test_tool_writes_the_report_and_exits_with_one(faulty: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    features.mkdir()
    out = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "tools/check_data.py"), "cirr", str(faulty)]
    options = ["--json", str(out), "--features", str(features)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    report = json.loads(out.read_text())
    assert report["ok"] is False and report["splits"]["val"]["readable"] == 8
    assert any("without an index" in kind for kind in report["faults"])


@pytest.mark.parametrize("folder", [True, False])
def test_tool_refuses_a_report_that_cannot_be_written_before_it_reads(
    folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    out = tmp_path if folder else tmp_path / "file" / "report.json"
    message = "is a folder; expected the name of a file" if folder else f"{tmp_path / 'file'} is a file"
    monkeypatch.setattr(sys, "argv", ["tools/check_data.py", "cirr", str(tmp_path / "never-read"), "--json", str(out)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools/check_data.py"), run_name="__main__")
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith("check_data.py: error: --json ") and message in printed.err
    assert (tmp_path / "file").read_text() == "kept"


def test_tool_shows_names_with_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cirr(tmp_path / "[red]", "val")
    image = tmp_path / "[red]" / "dev" / "dev-0-1.png"
    image.write_bytes(b"broken")
    monkeypatch.setenv("COLUMNS", "600")
    monkeypatch.setattr(sys, "argv", ["tools/check_data.py", "cirr", str(tmp_path / "[red]")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools/check_data.py"), run_name="__main__")
    assert ended.value.code == 1
    assert str(image) in capsys.readouterr().out
