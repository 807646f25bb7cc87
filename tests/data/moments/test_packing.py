from __future__ import annotations

import os
import pickle
import runpy
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from moment_sets import moment_record, write_qvhighlights
from torch.utils.data import DataLoader

from gatefuse_plugins.data import QVHighlightsDataset, identity_collate
from gatefuse_plugins.data.moments import PackedFeatures, pack_folder, packing_store, verify_store
from gatefuse_plugins.data.moments.sources import FeatureSource
from gatefuse_plugins.errors import DataError

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = {
    "slowfast_features": "video",
    "clip_features": "video",
    "clip_text_features": "text",
    "pann_features": "audio",
}


def source(root: Path, name: str) -> FeatureSource:
    return FeatureSource.of("qvhighlights", FOLDERS[name], root / "features" / name)


def pack_all(root: Path, dtype: str = "float32") -> Path:
    for name in FOLDERS:
        assert not pack_folder(source(root, name), root / "packed", dtype).faults
    return root / "packed"


def dataset(root: Path, **options: object) -> QVHighlightsDataset:
    return QVHighlightsDataset(root, audio_features="auto", **options)


@pytest.mark.parametrize("options", [{}, {"max_v_l": 4, "max_q_l": 2}, {"normalize_v": False, "normalize_t": False}])
def test_float32_store_equals_the_files_bit_for_bit(tmp_path: Path, options: dict[str, object]) -> None:
    write_qvhighlights(tmp_path, rows={"pann_features": 9})
    packed = dataset(tmp_path, packed=pack_all(tmp_path), clip_tolerance=8, **options)
    plain = dataset(tmp_path, clip_tolerance=8, **options)
    for draw in ([0, 1, 2], [1]):
        torch.manual_seed(0)
        expected = plain[draw]
        torch.manual_seed(0)
        found = packed[draw]
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            pairs = zip(found[name], value, strict=True)
            assert all(torch.equal(ours, theirs) and ours.dtype == theirs.dtype for ours, theirs in pairs), name


def test_float16_store_is_right_to_rounding(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    expected, found = dataset(tmp_path)[[0, 1]], dataset(tmp_path, packed=pack_all(tmp_path, "float16"))[[0, 1]]
    for name in ("video", "audio", "text"):
        assert found[name].dtype == torch.float32 and not torch.equal(found[name], expected[name])
        torch.testing.assert_close(found[name], expected[name], rtol=2**-11 * 1.01, atol=1e-7)


def test_reading_opens_no_file_per_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_qvhighlights(tmp_path)
    packed = pack_all(tmp_path)
    shutil.rmtree(tmp_path / "features")  # the store suffices
    data = dataset(tmp_path, packed=packed)
    expected = data[[0, 1, 2]]
    monkeypatch.setattr("builtins.open", None)
    assert torch.equal(data[[0, 1, 2]]["video"], expected["video"])


def test_workers_and_pickling_read_the_same(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    data = dataset(tmp_path, packed=pack_all(tmp_path), role="eval")
    expected = data[[0, 1, 2]]
    assert len(pickle.dumps(data)) < 20_000  # no features inside
    for workers in (0, 2):
        (batch,) = DataLoader(data, batch_size=3, num_workers=workers, collate_fn=identity_collate)
        assert torch.equal(batch["video"], expected["video"]) and torch.equal(batch["audio"], expected["audio"])
    batch = pickle.loads(pickle.dumps(data))[[0, 1, 2]]
    assert torch.equal(batch["text"], expected["text"])


def test_changed_source_is_noticed_and_packed_anew(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    packed = pack_all(tmp_path)
    path = tmp_path / "features/clip_features/a.npz"
    np.savez(path, features=np.ones((10, 4), np.float32))
    with pytest.raises(DataError, match=r"changed after packing .*: a$"):
        dataset(tmp_path, packed=packed)
    result = pack_folder(source(tmp_path, "clip_features"), packed, "float32")
    assert (result.packed, result.unchanged) == (1, 1)
    assert torch.equal(dataset(tmp_path, packed=packed)[1]["video"], dataset(tmp_path)[1]["video"])
    assert torch.equal(dataset(tmp_path, packed=packed)[0]["video"], dataset(tmp_path)[0]["video"])
    np.savez(tmp_path / "features/clip_features/c.npz", features=np.ones((10, 4), np.float32))
    result = pack_folder(source(tmp_path, "clip_features"), packed, "float32")
    assert (result.packed, result.unchanged) == (1, 2)


def test_interrupted_packing_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_qvhighlights(tmp_path, [moment_record(qid, f"v{qid}") for qid in range(5)])
    clip, out = source(tmp_path, "clip_features"), tmp_path / "packed"
    monkeypatch.setattr("gatefuse_plugins.data.moments.packing._BATCH_ITEMS", 2)

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_folder(clip, out, "float32", interrupt)
    folder = out / "clip_features"
    with pytest.raises(DataError, match="interrupted"):
        PackedFeatures(folder)
    for name, torn in (("rows.bin", b"xyz"), ("norms.bin", b"x"), ("journal.jsonl", b'["v4", 40')):
        with open(folder / name, "ab") as stream:
            stream.write(torn)  # what a crash in the middle of a write leaves
    result = pack_folder(clip, out, "float32")
    assert (result.packed, result.unchanged) == (1, 4)
    assert not verify_store(folder)
    store = PackedFeatures(folder)
    for name in store.entries:
        assert np.array_equal(store.rows(name).values, clip.read(name))


def test_verify_finds_rotten_bytes_and_changed_files(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    packed = pack_all(tmp_path)
    rows = packed / "clip_features/rows.bin"
    data = bytearray(rows.read_bytes())
    data[5] ^= 1
    rows.write_bytes(data)
    (kind,) = verify_store(packed / "clip_features").by_kind.items()
    assert "checksum" in kind[0] and kind[1] == ["a"]
    before = (tmp_path / "features/pann_features/b.npy").stat()
    np.save(tmp_path / "features/pann_features/b.npy", np.ones((12, 5), np.float32))
    os.utime(tmp_path / "features/pann_features/b.npy", ns=(before.st_atime_ns, before.st_mtime_ns))
    (kind,) = verify_store(packed / "pann_features").by_kind.items()
    assert "differ from their files" in kind[0] and kind[1] == ["b"]


def test_faulty_files_are_left_out_and_named_together(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path, [moment_record(qid, f"v{qid}") for qid in range(4)])
    folder = tmp_path / "features/clip_features"
    np.savez(folder / "v1.npz", features=np.full((10, 4), np.nan))
    np.savez(folder / "v2.npz", features=np.ones((10, 3)))
    np.savez(folder / "v3.npz", features=np.full((10, 4), 1e6))
    result = pack_folder(source(tmp_path, "clip_features"), tmp_path / "packed", "float16")
    (faults,) = result.faults.by_kind.values()
    assert result.packed == 1 and len(faults) == 3
    assert "NaN" in faults[0] and "3 features, expected 4" in faults[1] and "pack as float32" in faults[2]


def test_disk_and_contradictions_are_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_qvhighlights(tmp_path)
    clip, out = source(tmp_path, "clip_features"), tmp_path / "packed"
    pack_folder(clip, out, "float16")
    with pytest.raises(DataError, match="holds {'dtype': 'float16'}, asked for {'dtype': 'float32'}"):
        pack_folder(clip, out, "float32")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(packing_store.shutil, "disk_usage", lambda path: usage(10))
    with pytest.raises(DataError, match="GiB free"):
        pack_folder(source(tmp_path, "slowfast_features"), out)
    assert not (out / "slowfast_features/rows.bin").stat().st_size
    with pytest.raises(DataError, match=r"no files NAME\.npz to pack"):
        pack_folder(FeatureSource.of("qvhighlights", "video", tmp_path / "nowhere"), out)


def test_tool_packs_verifies_and_reports(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    command = [sys.executable, str(ROOT / "tools/pack_features.py"), str(tmp_path), "--out", str(tmp_path / "p")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)

    first = run("--dtype", "float32", "--verify")
    assert first.returncode == 0, first.stdout + first.stderr
    assert sorted(folder.name for folder in (tmp_path / "p").iterdir()) == sorted(FOLDERS)
    assert dataset(tmp_path, packed=tmp_path / "p").widths == {"video": 12, "text": 3, "audio": 7}
    (tmp_path / "features/clip_features/a.npz").write_bytes(b"broken")
    second = run("--dtype", "float32")
    assert second.returncode == 1 and "a.npz: unreadable" in second.stdout


def test_tool_names_paths_with_brackets_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "[old]"
    monkeypatch.setattr(sys, "argv", ["tools/pack_features.py", str(empty), "--out", str(tmp_path / "p")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools/pack_features.py"), run_name="__main__")
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith(f"pack_features.py: error: {empty}: no feature folders of qvhighlights")
