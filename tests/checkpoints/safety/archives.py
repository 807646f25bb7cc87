"""Honest archives, and ways to change them so that only what a test means to change is changed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.weight": torch.arange(4, dtype=torch.float64)}


def refuse(path: Path, message: str, trust: bool = False) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path, trust=trust)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def rezip(source: Path, change: Callable[[str, bytes], bytes | None], extra: Sequence[tuple[str, bytes]] = ()) -> Path:
    """``source`` with its records changed (``None`` leaves one out) and records added, checksums in order."""
    target = source.with_name("changed.pt")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in extra:
            new.writestr(name, content)
    return target


def replace_in_pickle(source: Path, old: bytes, new: bytes) -> Path:
    def change(name: str, content: bytes) -> bytes:
        assert not name.endswith("data.pkl") or old in content
        return content.replace(old, new) if name.endswith("data.pkl") else content

    return rezip(source, change)
