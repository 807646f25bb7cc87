from __future__ import annotations

import logging
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from gatefuse_plugins.checkpoints.pickles import read_file
from gatefuse_plugins.engine.resume import allow_checkpoint_globals, checkpoint_globals, find_latest, load_resumable
from gatefuse_plugins.errors import CheckpointError


def checkpoint() -> dict:
    hub = MessageHub("hub")
    hub.update_scalar("train/loss", 2.5)
    hub.update_info("best_score", np.float64(61.5))
    hub.update_info("dataset_meta", {"target": np.arange(3), "category": np.array(["dress"])})
    return {"meta": {"iter": 1, "epoch": 0}, "state_dict": {}, "optimizer": {}, "message_hub": hub.state_dict()}


def rewrite_pickle(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in the pickle of a torch file."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("core", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_reads_message_hub_of_either_numpy(tmp_path, core):
    path = tmp_path / "iter_1.pth"
    torch.save(checkpoint(), path)
    other = b"numpy._core.multiarray" if np.__version__ >= "2" else b"numpy.core.multiarray"
    rewrite_pickle(path, b"c" + other + b"\n", b"c" + core + b"\n")
    hub = load_resumable(path)["message_hub"]
    assert isinstance(hub["log_scalars"]["train/loss"], HistoryBuffer)
    assert hub["log_scalars"]["train/loss"].current() == 2.5
    assert hub["runtime_info"]["best_score"] == 61.5
    assert hub["runtime_info"]["dataset_meta"]["target"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("code", ["bool", "uint16", "uint32", "uint64", "float16", "complex64", "complex128"])
def test_numpy_of_every_plain_dtype_is_read_by_resume_and_by_the_reader(tmp_path, code):
    value = np.array([0, 1, 1]).astype(code)
    path = tmp_path / "iter_1.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}, "seen": value}, path)
    for stored in (load_resumable(path, ["seen"]), read_file(path, trust=False)):
        assert stored["seen"].dtype == value.dtype and stored["seen"].tolist() == value.tolist()


class Hostile:
    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    "attack",
    [Hostile(os.system, "true"), Hostile(getattr, HistoryBuffer, "__init__"), Hostile(getattr, np.ndarray, "tofile")],
)
def test_everything_else_stays_forbidden(tmp_path, attack):
    torch.save({**checkpoint(), "attack": attack}, tmp_path / "iter_1.pth")
    with pytest.raises(CheckpointError, match="unreadable"):
        load_resumable(tmp_path / "iter_1.pth")


def test_the_real_getattr_is_not_allowed():
    assert all(entry is not getattr for entry in checkpoint_globals())
    assert all(not (isinstance(entry, tuple) and entry[0] is getattr) for entry in checkpoint_globals())


def test_allowing_is_process_wide(tmp_path):
    torch.save(checkpoint(), tmp_path / "a.pth")
    before = torch.serialization.get_safe_globals()
    try:
        allow_checkpoint_globals()
        load_resumable(tmp_path / "a.pth")  # must not take back what was allowed
        assert torch.load(tmp_path / "a.pth", weights_only=True)["meta"]["iter"] == 1
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def save(work_dir: Path, step: int) -> Path:
    path = work_dir / f"iter_{step}.pth"
    torch.save(checkpoint(), path)
    os.utime(path, (step, step))
    return path


def test_find_latest(tmp_path, caplog):
    assert find_latest(tmp_path) is None
    old, middle, new = save(tmp_path, 9), save(tmp_path, 10), save(tmp_path, 11)
    torch.save({}, tmp_path / "best_toy_mean_iter_12.pth")
    assert find_latest(tmp_path) == new  # no last_checkpoint
    pointer = tmp_path / "last_checkpoint"
    pointer.write_text(f"/moved/away/{middle.name}")
    assert find_latest(tmp_path) == middle
    pointer.write_bytes(b"\xff\xfe")
    new.write_bytes(new.read_bytes()[:200])
    torch.save({"state_dict": {}}, middle)
    os.utime(middle, (10, 10))
    with caplog.at_level(logging.WARNING):
        assert find_latest(tmp_path) == old


def test_pickle_bomb_is_not_executed(tmp_path):
    marker = tmp_path / "owned"
    (tmp_path / "iter_1.pth").write_bytes(pickle.dumps(Hostile(os.mkdir, str(marker))))
    with pytest.raises(CheckpointError, match=r"none of 1 checkpoints can be read \(iter_1.pth\)"):
        find_latest(tmp_path)
    assert not marker.exists()
