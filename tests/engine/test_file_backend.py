from __future__ import annotations

import errno
import os
import tempfile

import pytest
from mmengine.fileio import get_file_backend

from gatefuse_plugins.engine.file_backend import BACKEND_NAME, AtomicBackend, check_writable
from gatefuse_plugins.errors import CheckpointError, ConfigError


def fail(code):
    def raiser(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return raiser


def test_backend_is_registered_and_writes(tmp_path):
    backend = get_file_backend(str(tmp_path), backend_args={"backend": BACKEND_NAME})
    assert isinstance(backend, AtomicBackend)
    backend.put(b"weights", tmp_path / "deep" / "a.pth")
    backend.put_text("gr\u00fcn", tmp_path / "b.txt")
    assert (tmp_path / "deep" / "a.pth").read_bytes() == b"weights"
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "gr\u00fcn"


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "no space left: 1,000 bytes"), (errno.EIO, "1,000 bytes")])
def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch, code, words):
    target = tmp_path / "iter_3.pth"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail(code))
    with pytest.raises(CheckpointError) as caught:
        AtomicBackend().put(b"x" * 1000, target)
    assert str(target) in str(caught.value) and words in str(caught.value)
    assert "previous checkpoint is intact" in str(caught.value)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_read_only_directory(tmp_path, monkeypatch):
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.setattr(tempfile, "mkstemp", fail(errno.EROFS))  # root may write anywhere, so simulate
    with pytest.raises(ConfigError, match=r"work_dir: .*cannot be written .Read-only file system"):
        check_writable(tmp_path)
    with pytest.raises(CheckpointError, match="read-only"):
        AtomicBackend().put_text("x", tmp_path / "last_checkpoint")
