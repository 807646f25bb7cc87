"""A process killed at every step of a change: the next call completes or restores."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_tree import FILES, PATCHED, contents, digest, write_patches, write_tree

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.upstream import changes
from gatefuse_plugins.upstream.changes import apply, revert
from gatefuse_plugins.upstream.journal import FOLDER
from gatefuse_plugins.upstream.tree import inspect_tree

STEPS = ("replace", "fsync", "unlink", "mkdir", "open", "chmod", "rmdir", "rename")
ORIGINAL = {path: text.encode() for path, text in FILES.items()}
CHANGED = {path: text.encode() for path, text in PATCHED.items()}


def killed_at(step: int, work: Callable[[], Any]) -> bool:
    """Run ``work`` in a child that is killed (-9) before its ``step``-th call that touches the disk; was it?"""
    child = os.fork()
    if child == 0:
        count = 0

        def watched(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return call

        for name in STEPS:
            setattr(os, name, watched(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("begun", [apply, revert])
@pytest.mark.parametrize("then", [apply, revert])
def test_kill_at_every_step(tmp_path: Path, begun: Any, then: Any) -> None:
    sets = write_patches(tmp_path / "patches")
    kinds = set()
    for step in range(1, 200):
        tree = write_tree(tmp_path / f"tree{step}", FILES if begun is apply else PATCHED)
        dead = killed_at(step, lambda tree=tree: begun(tree, sets))
        kinds.add(inspect_tree(tree, sets).kind)
        found = {path: held for path, held in contents(tree).items() if not path.startswith(FOLDER)}
        assert all(held in (ORIGINAL[path], CHANGED[path]) for path, held in found.items())  # no half file, no other
        then(tree, sets)
        assert contents(tree) == (CHANGED if then is apply else ORIGINAL)
        assert not (tree / FOLDER).exists()
        if not dead:
            break
    assert not dead
    assert step > 10
    assert {"unpatched", "patched", "interrupted"} <= kinds


def test_a_file_edited_after_the_interruption_is_not_overwritten(tmp_path: Path) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    for step in range(1, 200):
        assert killed_at(step, lambda: apply(tree, sets))
        if inspect_tree(tree, sets).interrupted:
            break
    (tree / "pkg/model.py").write_text("mine\n")
    with pytest.raises(DataError, match=r"model.py: was edited after a change of it had been interrupted"):
        apply(tree, sets)
    assert (tree / "pkg/model.py").read_text() == "mine\n"
    assert inspect_tree(tree, sets).kind == "interrupted"


@pytest.mark.parametrize("path", ["../outside.py", "pkg/other.py"])
def test_a_journal_that_is_not_ours_changes_nothing(tmp_path: Path, path: str) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    for victim in (tmp_path / "outside.py", tree / "pkg/other.py"):
        victim.write_text("keep\n")
    (tree / FOLDER).mkdir()
    (tree / FOLDER / "0").write_text("changed\n")
    entry = {"path": path, "staged": "0", "before": digest("keep\n"), "after": digest("changed\n")}
    (tree / FOLDER / "journal.json").write_text(json.dumps({"files": [entry]}))
    with pytest.raises(DataError, match="which no patch changes"):
        apply(tree, sets)
    (tree / FOLDER / "journal.json").write_text("{}")
    with pytest.raises(DataError, match="not a journal of this tool"):
        revert(tree, sets)
    assert (tmp_path / "outside.py").read_text() == (tree / "pkg/other.py").read_text() == "keep\n"
    assert (tree / "config.py").read_bytes() == ORIGINAL["config.py"]


def test_files_patched_by_hand_in_part(tmp_path: Path) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    (tree / "config.py").write_text(PATCHED["config.py"])
    assert inspect_tree(tree, sets).kind == "partly patched"
    assert apply(tree, sets).changed == ("pkg/model.py",)
    (tree / "config.py").write_text(FILES["config.py"])
    assert revert(tree, sets).changed == ("pkg/model.py",)
    assert contents(tree) == ORIGINAL


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device.; nothing was changed"):
        changes.apply(tree, sets)
    assert contents(tree) == ORIGINAL
