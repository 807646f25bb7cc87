"""Patches of lines: what they insert or substitute in a file, and how that is taken out again.

A diff holds insertions alone, without context, so none of a checkout's own lines stands in it. A substitution names a
line by number and the few characters to replace there. Both are exact in reverse.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatefuse_plugins.errors import DataError

_HUNK = re.compile(r"@@ -(\d+),0 \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Insertion:
    """Lines, without line ends, that follow line ``after`` of the original ``path``; 0: in front of the first."""

    path: str
    after: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True)
class Substitution:
    """``find``, which stands once in line ``line`` (from 1) of the original ``path``, becomes ``replace``."""

    path: str
    line: int
    find: bytes
    replace: bytes


@dataclass(frozen=True)
class Patch:
    """Changes that are applied and taken back together.

    Attributes:
        name: ``plugin``, or the name of a fix.
        summary: what it does, one sentence.
        after: SHA-256, by path, of the file with this patch alone (line ends LF).
    """

    name: str
    summary: str
    insertions: tuple[Insertion, ...]
    substitutions: tuple[Substitution, ...]
    after: dict[str, str]

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that it changes, sorted."""
        return tuple(sorted({c.path for c in self.insertions} | {c.path for c in self.substitutions}))


def parse_diff(text: str, origin: str) -> tuple[Insertion, ...]:
    """Insertions of a zero-context unified diff.

    Raises:
        DataError: a line that removes or repeats something of the checkout, or a hunk that does not add up.
    """
    found: list[Insertion] = []
    path, after, left = "", 0, 0
    lines: list[bytes] = []
    for number, line in enumerate(text.splitlines(), 1):
        if left and line.startswith("+"):
            lines.append(line[1:].encode())
            left -= 1
            if not left:
                found.append(Insertion(path, after, tuple(lines)))
                lines = []
        elif not left and line.startswith("--- "):
            continue
        elif not left and line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/").split("\t")[0]
        elif not left and path and (hunk := _HUNK.fullmatch(line)):
            after, left = int(hunk[1]), int(hunk[3] or 1)
        else:
            raise DataError(f"{origin}:{number}: {line[:60]!r} does not belong into a diff of insertions alone")
    if left:
        raise DataError(f"{origin}: the last hunk of {path} lacks {left} line(s)")
    return tuple(found)


def apply_patches(content: bytes, path: str, patches: Iterable[Patch]) -> bytes:
    """``content`` of the original ``path`` (line ends LF) with ``patches`` applied, in their order.

    Raises:
        DataError: the file is too short, or lacks what is to be replaced; it is not the original.
    """
    inserted, substituted = _changes(path, patches)
    original = content.split(b"\n")
    last = max([*inserted, *(change.line for change in substituted), 0])
    if last >= len(original):
        raise DataError(f"{path}: has {len(original) - 1} lines, but a patch changes line {last}")
    for change in substituted:
        line = original[change.line - 1]
        if line.count(change.find) != 1:
            raise DataError(f"{path}:{change.line}: {change.find.decode()!r} does not stand there once")
        original[change.line - 1] = line.replace(change.find, change.replace)
    result = list(inserted.get(0, ()))
    for number, line in enumerate(original, 1):
        result += [line, *inserted.get(number, ())]
    return b"\n".join(result)


def remove_patches(content: bytes, path: str, patches: Iterable[Patch]) -> bytes | None:
    """The original of ``content``, if it is one with exactly these patches; ``None`` where their lines are not there.

    The caller compares the hash: lines that a user changed elsewhere are not noticed here.
    """
    inserted, substituted = _changes(path, patches)
    current = content.split(b"\n")
    original: list[bytes] = []
    position = 0
    while True:
        expected = inserted.pop(len(original), [])
        if current[position : position + len(expected)] != expected:
            return None
        position += len(expected)
        if position >= len(current):
            break
        original.append(current[position])
        position += 1
    if inserted:
        return None
    for change in substituted:
        if len(original) < change.line or original[change.line - 1].count(change.replace) != 1:
            return None
        original[change.line - 1] = original[change.line - 1].replace(change.replace, change.find)
    return b"\n".join(original)


def _changes(path: str, patches: Iterable[Patch]) -> tuple[dict[int, list[bytes]], Sequence[Substitution]]:
    inserted: dict[int, list[bytes]] = defaultdict(list)
    substituted = []
    for patch in patches:
        for insertion in patch.insertions:
            if insertion.path == path:
                inserted[insertion.after] += insertion.lines
        substituted += [change for change in patch.substitutions if change.path == path]
    return dict(inserted), substituted
