"""Apply and revert on a small tree: states, bytes, refusals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_tree import CONFIG, FILES, MODEL, OLDER, PATCHED, contents, manifest, write_patches, write_tree

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.upstream.changes import apply, revert
from gatefuse_plugins.upstream.manifest import load_patch_sets
from gatefuse_plugins.upstream.report import state_lines
from gatefuse_plugins.upstream.tree import inspect_tree


def encoded(files: dict[str, str], ends: str = "\n") -> dict[str, bytes]:
    return {path: text.replace("\n", ends).encode() for path, text in files.items()}


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_apply_and_revert_give_exact_bytes_and_keep_line_ends_and_modes(tmp_path: Path, ends: str) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree", ends=ends)
    (tree / "config.py").chmod(0o755)
    assert inspect_tree(tree, sets).kind == "unpatched"

    report = apply(tree, sets)
    assert report.changed == ("config.py", "pkg/model.py")
    assert contents(tree) == encoded(PATCHED, ends)
    assert (tree / "config.py").stat().st_mode & 0o777 == 0o755
    assert (report.state.kind, report.state.applied) == ("patched", {"plugin"})
    assert all(file.crlf == (ends == "\r\n") for file in report.state.files)

    assert apply(tree, sets).changed == ()
    assert revert(tree, sets).changed == ("config.py", "pkg/model.py")
    assert contents(tree) == encoded(FILES, ends)
    assert revert(tree, sets).changed == ()


def test_fixes_are_applied_only_when_asked_for_alone_or_with_the_plugin(tmp_path: Path) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    assert apply(tree, sets, ["cpu"], plugin=False).changed == ("pkg/model.py",)
    assert (tree / "pkg/model.py").read_text() == MODEL.replace(".cuda()", ".to(x.device)")
    assert apply(tree, sets).state.applied == {"plugin", "cpu"}
    both = PATCHED["pkg/model.py"].replace(".cuda()", ".to(x.device)")
    assert contents(tree) == encoded(PATCHED | {"pkg/model.py": both})
    revert(tree, sets)
    assert contents(tree) == encoded(FILES)
    with pytest.raises(ConfigError, match=r"--fix cpuu: small has no such fix; did you mean 'cpu'"):
        apply(tree, sets, ["cpuu"])
    with pytest.raises(ConfigError, match="--no-plugin without --fix: nothing to apply; expected --fix cpu"):
        apply(tree, sets, plugin=False)


def test_an_edited_file_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    (tree / "config.py").write_text(CONFIG + "# mine\n")
    before = contents(tree)
    assert inspect_tree(tree, sets).kind == "drifted"
    with pytest.raises(DataError, match=r"(?s)config.py: was edited.*a fork .*git -C small checkout aaaaaaa"):
        apply(tree, sets)
    shown = "\n".join(state_lines(inspect_tree(tree, sets)))
    assert shown.startswith("drifted: someone/small aaaaaaa") and "cuda" in shown
    assert "--fix" not in shown and "apply" not in shown and "--" not in shown  # nothing overwrites the user's files
    assert contents(tree) == before


def test_an_edit_in_a_patched_file_is_refused_and_kept(tmp_path: Path) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    apply(tree, sets)
    (tree / "config.py").write_text(PATCHED["config.py"].replace('"log"', '"mine"'))
    before = contents(tree)
    with pytest.raises(DataError, match=r"config.py: was edited"):
        revert(tree, sets)
    assert contents(tree) == before


def test_another_commit_is_named_and_a_stranger_is_unknown(tmp_path: Path) -> None:
    sets = write_patches(tmp_path / "patches")
    older = write_tree(tmp_path / "older", OLDER)
    state = inspect_tree(older, sets)
    assert (state.kind, state.nearest) == ("drifted", ("b" * 40, 2))
    with pytest.raises(DataError, match=r"nearest to commit bbbbbbb \(2 of 2 files\)"):
        apply(older, sets)

    stranger = write_tree(tmp_path / "stranger", {"setup.py": "x\n"})
    assert inspect_tree(stranger, sets).kind == "unknown"
    with pytest.raises(DataError, match="no file that the patches know; expected a checkout of someone/small aaaaaaa"):
        apply(stranger, sets)
    with pytest.raises(ConfigError, match="not a folder"):
        inspect_tree(tmp_path / "nowhere", sets)
    with pytest.raises(ConfigError, match="--upstream smal: no such patches; did you mean 'small'"):
        inspect_tree(older, sets, "smal")


def test_mixed_line_ends_and_a_missing_file_are_named(tmp_path: Path) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    (tree / "config.py").write_bytes(CONFIG.replace("\n", "\r\n", 1).encode())
    with pytest.raises(DataError, match="config.py: has mixed line ends"):
        apply(tree, sets)
    (tree / "config.py").unlink()
    with pytest.raises(DataError, match="config.py: is not there"):
        apply(tree, sets)


@pytest.mark.parametrize("linked", ["config.py", "pkg"])
def test_links_are_refused(tmp_path: Path, linked: str) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    (tree / linked).rename(tmp_path / "elsewhere")
    (tree / linked).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a symbolic link to"):
        apply(tree, sets)
    assert (tmp_path / "tree" / linked).is_symlink()
    # the tree itself may be reached through a link
    whole = write_tree(tmp_path / "whole")
    (tmp_path / "link").symlink_to(whole)
    assert apply(tmp_path / "link", sets).state.kind == "patched"


@pytest.mark.parametrize("folder", ["", "pkg"])
def test_a_tree_that_cannot_be_written(tmp_path: Path, folder: str) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    before, user = contents(tree), os.geteuid()
    for parent in [*tmp_path.parents, tmp_path]:
        if parent.owner() == tmp_path.owner() and parent != Path("/tmp"):
            parent.chmod(0o755)
    (tree / folder).chmod(0o555)
    if user == 0:
        os.chown(tree, 65534, -1)
        (tree / "pkg").chmod(0o555)
        os.seteuid(65534)  # root writes whatever the modes say
    try:
        with pytest.raises(DataError, match="cannot be written .Permission denied.; nothing was changed"):
            apply(tree, sets)
    finally:
        os.seteuid(user)
        for path in (tree, tree / "pkg"):
            path.chmod(0o755)
    assert contents(tree) == before


def test_broken_patches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no patches there"):
        load_patch_sets(tmp_path)
    outside = manifest()
    outside["files"]["../x.py"] = "0"
    with pytest.raises(DataError, match=r"'../x.py' points outside the checkout"):
        write_patches(tmp_path / "b", outside)
    with pytest.raises(DataError, match=r"plugin.diff:4: '-print\(flags\)' does not belong"):
        write_patches(tmp_path / "c", diff="--- a/config.py\n+++ b/config.py\n@@ -1,0 +2,1 @@\n-print(flags)\n")
    with pytest.raises(DataError, match=r"lacks 1 line"):
        write_patches(tmp_path / "d", diff="--- a/config.py\n+++ b/config.py\n@@ -1,0 +2,2 @@\n+x\n")
    lacking = manifest()
    del lacking["files"]["config.py"]
    with pytest.raises(DataError, match="a patch changes config.py, whose original hash is not listed"):
        write_patches(tmp_path / "e", lacking)
    wrong = manifest()
    wrong["patches"]["plugin"]["after"]["config.py"] = "0" * 64
    sets, tree = write_patches(tmp_path / "f", wrong), write_tree(tmp_path / "tree")
    with pytest.raises(DataError, match="'plugin' of small does not give the config.py that its manifest promises"):
        apply(tree, sets)
    assert contents(tree) == encoded(FILES)
