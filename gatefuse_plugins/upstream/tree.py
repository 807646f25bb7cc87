"""What state a checkout is in, by the hashes of its files alone: git is never asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from gatefuse_plugins.errors import ConfigError, DataError, suggestion
from gatefuse_plugins.upstream.journal import is_interrupted
from gatefuse_plugins.upstream.manifest import PatchSet
from gatefuse_plugins.upstream.patches import Patch, remove_patches


@dataclass(frozen=True)
class FileState:
    """One file that patches change.

    Attributes:
        path: relative to the checkout.
        content: its bytes; ``None``: it is not there.
        original: what upstream's commit has there, line ends LF; ``None``: the file is not a patched original.
        applied: names of the patches in it, ``None`` likewise.
        crlf: its line ends are CRLF.
    """

    path: str
    content: bytes | None
    original: bytes | None
    applied: frozenset[str] | None
    crlf: bool


@dataclass(frozen=True)
class TreeState:
    """A checkout seen through one patch set.

    Attributes:
        interrupted: a change was begun and not finished.
        nearest: the commit that most of the files come from, and how many; ``None`` where no file is known.
        known: the patch sets that the checkout was compared with.
    """

    root: Path
    patch_set: PatchSet
    files: tuple[FileState, ...]
    interrupted: bool
    nearest: tuple[str, int] | None
    known: tuple[PatchSet, ...]

    @property
    def drifted(self) -> tuple[FileState, ...]:
        """Files that are missing, or neither original nor patched."""
        return tuple(file for file in self.files if file.applied is None)

    @property
    def applied(self) -> frozenset[str]:
        """Patches that are in all of their files."""
        inside = {file.path: file.applied or frozenset() for file in self.files}
        return frozenset(p.name for p in self.patch_set.patches if all(p.name in inside[path] for path in p.paths))

    @property
    def kind(self) -> str:
        """``unpatched``, ``patched``, ``partly patched``, ``drifted``, ``unknown``, or ``interrupted``."""
        if self.interrupted:
            return "interrupted"
        if self.drifted:
            return "drifted" if self.nearest else "unknown"
        named = frozenset(name for file in self.files for name in file.applied or ())
        if named != self.applied:
            return "partly patched"
        return "patched" if named else "unpatched"


def inspect_tree(root: str | Path, sets: Mapping[str, PatchSet], name: str | None = None) -> TreeState:
    """The state of the checkout ``root``.

    Args:
        sets: see :func:`~gatefuse_plugins.upstream.manifest.load_patch_sets`.
        name: take this patch set; without it the one that most of the files fit.

    Raises:
        ConfigError: ``root`` is no folder, or there is no such patch set.
        DataError: a file to patch is a symbolic link, or cannot be read.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: not a folder; expected a checkout of {' or '.join(sets)}")
    folder = folder.resolve()
    if name is not None and name not in sets:
        raise ConfigError(f"--upstream {name}: no such patches{suggestion(name, sets)}")
    chosen = tuple(sets.values()) if name is None else (sets[name],)
    states = [_state(folder, patch_set, chosen) for patch_set in chosen]
    return max(states, key=lambda state: (state.nearest or ("", 0))[1] + len(state.files) - len(state.drifted))


def read_lf(content: bytes) -> tuple[bytes, bool]:
    """The content with LF line ends, and whether it had CRLF throughout; mixed line ends are left alone."""
    crlf = content.count(b"\r\n")
    if crlf and crlf == content.count(b"\n") == content.count(b"\r"):
        return content.replace(b"\r\n", b"\n"), True
    return content, False


def digest(content: bytes) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(content).hexdigest()


def _state(root: Path, patch_set: PatchSet, chosen: tuple[PatchSet, ...]) -> TreeState:
    files = tuple(_file_state(root, path, patch_set) for path in sorted(patch_set.originals))
    hashes = {file.path: digest(read_lf(file.content)[0]) for file in files if file.content is not None}
    known = {patch_set.commit: patch_set.originals} | dict(patch_set.history)
    counts = {c: sum(held.get(path) == found for path, found in hashes.items()) for c, held in known.items()}
    counts[patch_set.commit] = sum(file.applied is not None for file in files)
    best = max(counts, key=lambda commit: counts[commit])
    nearest = (best, counts[best]) if counts[best] else None
    return TreeState(root, patch_set, files, is_interrupted(root), nearest, chosen)


def _file_state(root: Path, path: str, patch_set: PatchSet) -> FileState:
    place = root
    for part in Path(path).parts:
        place = place / part
        if place.is_symlink():
            raise DataError(
                f"{place}: is a symbolic link to {place.readlink()}; patching would change what it points to, or cut"
                " the link. Put a copy in its place, or run the tool on the tree that it points into"
            )
    if not place.is_file():
        return FileState(path, None, None, None, False)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({error.strerror})") from error
    plain, crlf = read_lf(content)
    touching = [patch for patch in patch_set.patches if path in patch.paths]
    for count in range(len(touching) + 1):
        for some in combinations(touching, count):
            original = _original(plain, path, some, patch_set.originals[path])
            if original is not None:
                return FileState(path, content, original, frozenset(patch.name for patch in some), crlf)
    return FileState(path, content, None, None, crlf)


def _original(content: bytes, path: str, patches: tuple[Patch, ...], expected: str) -> bytes | None:
    original = remove_patches(content, path, patches)
    return original if original is not None and digest(original) == expected else None
