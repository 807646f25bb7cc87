"""A migration that is killed or runs out of disk leaves the source, and either the old file or the whole new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import honest_files as files
import pytest
import torch

from gatefuse_plugins.checkpoints.migration import make_plan, migrate
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.engine.resume import find_latest
from gatefuse_plugins.files import file_digest

ROOT = Path(__file__).resolve().parents[3]
CONFIG = files.moments(files.AVIGATE_CUSTOM)
MOMENTS = ("at the first block", "in the middle", "before it is on disk", "before it takes its place", "afterwards")


def pause_at(moment: str, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the migration of this process stop for ever at ``moment``; returns what it has to tell its progress to."""

    def stop(*_: object) -> None:
        marker.touch()
        time.sleep(600)

    replace, blocks = os.replace, []
    if moment == "before it is on disk":
        monkeypatch.setattr(os, "fsync", stop)
    elif moment == "before it takes its place":
        monkeypatch.setattr(os, "replace", stop)
    elif moment == "afterwards":
        monkeypatch.setattr(os, "replace", lambda *paths: (replace(*paths), stop()))

    def progress(_count: int) -> None:
        blocks.append(1)
        if (moment, len(blocks)) in (("at the first block", 1), ("in the middle", 100)):
            stop()

    return progress


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, suffix: str) -> None:
    source, out, marker = files.qd_detr(tmp_path / "old.ckpt"), tmp_path / f"new{suffix}", tmp_path / "marker"
    plan = make_plan(source, CONFIG)
    out.write_text("earlier")
    digest = file_digest(source)
    child = os.fork()
    if child == 0:
        try:
            progress = pause_at(moment, marker, monkeypatch)
            migrate(plan, out, verify=False, overwrite=True, progress=progress)
        finally:
            os._exit(7)  # the kill came too late: the test must not go on twice
    while not marker.exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the migration ended before it was killed"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    assert file_digest(source) == digest
    if moment == "afterwards":
        assert set(read_checkpoint(out).state_dict) == set(plan.family.skeleton(CONFIG).state_dict())
    else:
        assert out.read_text() == "earlier"
        (left,) = {path.name for path in tmp_path.iterdir()} - {"old.ckpt", out.name, "marker"}
        assert left.startswith(f".{out.name}.")
        assert left.endswith(".tmp")  # hidden, and no suffix that anything reads
        if suffix == ".pth":
            out.unlink()
            assert find_latest(tmp_path) is None
    again = migrate(plan, out, verify=False, overwrite=True)
    state, old = read_checkpoint(again.path).state_dict, torch.load(source, weights_only=False)["model"]
    assert all(torch.equal(state[name], old[name]) for name in old)


def test_the_command_itself_killed(tmp_path: Path) -> None:
    """Whenever the signal comes: no file, or the whole one."""
    source, out = files.qd_detr(tmp_path / "old.ckpt"), tmp_path / "new.safetensors"
    keys = ", ".join(f"{key}={value!r}" for key, value in CONFIG.items() if key != "type")
    (tmp_path / "target.py").write_text(f"model = dict(type='QDDETR', {keys})\n")
    arguments = ["run", str(source), "--config", str(tmp_path / "target.py"), "--out", str(out), "--no-verify"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(ROOT / "tools/migrate.py"), *arguments], env=environment) as process:
        while process.poll() is None and not list(tmp_path.glob(".new*")):
            time.sleep(0.0005)
        process.kill()
    assert process.returncode in (-signal.SIGKILL, 0)
    assert process.returncode == -signal.SIGKILL or out.exists()
    if out.exists():
        assert len(read_checkpoint(out).state_dict) == 264


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if mounted.returncode:
        pytest.skip(f"no right to mount a small file system ({mounted.stderr.strip()[:80]})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=30)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_disk_that_fills_up(tmp_path: Path, small_disk: Path, suffix: str) -> None:
    source = files.qd_detr(tmp_path / "old.ckpt")
    out = small_disk / f"new{suffix}"
    out.write_text("earlier")
    assert source.stat().st_size > 2**20
    with pytest.raises(OSError, match="No space left on device"):
        migrate(make_plan(source, files.moments()), out, verify=False, overwrite=True)
    assert [path.name for path in small_disk.iterdir()] == [out.name]
    assert out.read_text() == "earlier"
