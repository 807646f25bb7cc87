"""Apply and revert: first the complete list of changes, then all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.upstream.journal import FileChange, carry_out, finish, locked
from gatefuse_plugins.upstream.manifest import PatchSet
from gatefuse_plugins.upstream.patches import apply_patches
from gatefuse_plugins.upstream.tree import FileState, TreeState, digest, inspect_tree, read_lf


@dataclass(frozen=True)
class ChangeReport:
    """What a call did.

    Attributes:
        completed: files of an earlier, interrupted change that were changed first.
        changed: files that were changed.
        state: the tree afterwards.
    """

    completed: tuple[str, ...]
    changed: tuple[str, ...]
    state: TreeState


def apply(
    root: str | Path,
    sets: Mapping[str, PatchSet],
    fixes: Iterable[str] = (),
    plugin: bool = True,
    name: str | None = None,
) -> ChangeReport:
    """Patch a checkout; what is in it already stays, so a second call changes nothing.

    Args:
        root: the checkout.
        sets: see :func:`~gatefuse_plugins.upstream.manifest.load_patch_sets`.
        fixes: names of fixes to apply as well.
        plugin: apply the plugin; without it only the fixes.
        name: of the patch set, where it is not to be guessed.

    Raises:
        ConfigError: no checkout, or no such fix or patch set.
        DataError: a file is neither upstream's nor patched, is a symbolic link or cannot be written.
    """
    return _change(root, sets, name, lambda state: state.applied | state.patch_set.choose(list(fixes), plugin))


def revert(root: str | Path, sets: Mapping[str, PatchSet], name: str | None = None) -> ChangeReport:
    """Take all patches out: the bytes of every file are what they were. Arguments and errors as :func:`apply`."""
    return _change(root, sets, name, lambda _: frozenset())


def plan_changes(state: TreeState, wanted: frozenset[str]) -> list[FileChange]:
    """The changes that lead to exactly the ``wanted`` patches; line ends stay as they are.

    Raises:
        DataError: a file is neither upstream's nor patched, or a patch does not give the result that it promises.
    """
    if state.drifted:
        raise DataError(explain_drift(state))
    changes = []
    for file in state.files:
        after = _patched(file, state.patch_set, wanted)
        if after != file.content:
            assert file.content is not None
            changes.append(FileChange(file.path, file.content, after))
    return changes


def explain_drift(state: TreeState) -> str:
    """Which files are not upstream's, what commit the tree seems to be, and what to do that overwrites nothing."""
    patch_set = state.patch_set
    pinned = f"{patch_set.repository} {patch_set.commit[:7]}"
    if state.nearest is None:
        expected = " or ".join(f"{known.repository} {known.commit[:7]}" for known in state.known)
        return f"{state.root}: no file that the patches know; expected a checkout of {expected}"
    lines = [f"{state.root}: nothing was changed, since the patches are for {pinned} and these files differ:"]
    for file in state.drifted:
        if file.content is None:
            why = "is not there"
        elif b"\r\n" in file.content and not file.crlf:
            why = "has mixed line ends (LF and CRLF), or was edited"
        else:
            why = "was edited, or belongs to another commit"
        lines.append(f"  {file.path}: {why}")
    commit, count = state.nearest
    if commit != patch_set.commit:
        lines.append(f"The tree is nearest to commit {commit[:7]} ({count} of {len(state.files)} files).")
    folder = patch_set.repository.partition("/")[2]
    lines += [
        "Only upstream's own files are patched, so that no edit is lost; a fork whose files differ cannot be. Patch a",
        "fresh checkout in another folder, and bring your changes there afterwards:",
        f"  git clone https://github.com/{patch_set.repository} && git -C {folder} checkout {patch_set.commit[:7]}",
    ]
    return "\n".join(lines)


def _change(
    root: str | Path, sets: Mapping[str, PatchSet], name: str | None, choose: Callable[[TreeState], frozenset[str]]
) -> ChangeReport:
    before = inspect_tree(root, sets, name)
    with locked(before.root):
        completed = finish(before.root, before.patch_set.originals)
        state = inspect_tree(before.root, sets, name)
        changes = plan_changes(state, choose(state))
        if changes:
            carry_out(state.root, changes)
    changed = tuple(change.path for change in changes)
    return ChangeReport(tuple(completed), changed, inspect_tree(state.root, sets, state.patch_set.name))


def _patched(file: FileState, patch_set: PatchSet, wanted: frozenset[str]) -> bytes:
    assert file.original is not None
    chosen = [patch for patch in patch_set.patches if patch.name in wanted and file.path in patch.paths]
    for patch in chosen:
        if digest(apply_patches(file.original, file.path, [patch])) != patch.after[file.path]:
            raise DataError(
                f"patch {patch.name!r} of {patch_set.name} does not give the {file.path} that its manifest promises:"
                " diff or manifest was edited"
            )
    content = apply_patches(file.original, file.path, chosen)
    assert read_lf(content) == (content, False)
    return content.replace(b"\n", b"\r\n") if file.crlf else content
