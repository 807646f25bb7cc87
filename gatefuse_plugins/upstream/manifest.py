"""Patch sets on disk: ``patches/NAME/manifest.json`` and the diffs beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gatefuse_plugins.errors import ConfigError, DataError, suggestion
from gatefuse_plugins.files import read_json
from gatefuse_plugins.upstream.patches import Insertion, Patch, Substitution, parse_diff

MANIFEST = "manifest.json"
PLUGIN = "plugin"


@dataclass(frozen=True)
class PatchSet:
    """The patches for one upstream repository at one commit.

    Attributes:
        name: of the folder, and what ``--upstream`` takes.
        repository: ``owner/name`` on GitHub.
        commit: the full hash of the commit that the patches were made for.
        originals: by path, SHA-256 of every file that a patch changes (line ends LF).
        patches: ``plugin`` first, then the fixes.
        history: commit to the same hashes at other commits, for a hint where a tree is none of ours.
        requires: paths that upstream's code needs and its commit lacks.
    """

    name: str
    repository: str
    commit: str
    originals: Mapping[str, str]
    patches: tuple[Patch, ...]
    history: Mapping[str, Mapping[str, str]]
    requires: tuple[str, ...]

    @property
    def fixes(self) -> tuple[str, ...]:
        """Names of the patches that are applied only when asked for."""
        return tuple(patch.name for patch in self.patches if patch.name != PLUGIN)

    def choose(self, fixes: tuple[str, ...] | list[str], plugin: bool = True) -> frozenset[str]:
        """Names of the patches to apply.

        Raises:
            ConfigError: no such fix for this upstream, or nothing at all to apply.
        """
        if not fixes and not plugin:
            valid = " or ".join(f"--fix {name}" for name in self.fixes) or f"{self.name} has none; leave it out"
            raise ConfigError(f"--no-plugin without --fix: nothing to apply; expected {valid}")
        for name in fixes:
            if name not in self.fixes:
                raise ConfigError(f"--fix {name}: {self.name} has no such fix{suggestion(name, self.fixes)}")
        return frozenset(fixes) | ({PLUGIN} if plugin else frozenset())


def load_patch_sets(folder: str | os.PathLike[str]) -> dict[str, PatchSet]:
    """All patch sets below ``folder``, by name.

    Raises:
        ConfigError: there is none.
        DataError: a manifest or diff is broken, or names a path outside the checkout.
    """
    found = {path.parent.name: _load(path) for path in sorted(Path(folder).glob(f"*/{MANIFEST}"))}
    if not found:
        raise ConfigError(f"{folder}: no patches there; expected NAME/{MANIFEST}")
    return found


def _load(path: Path) -> PatchSet:
    content = read_json(path)
    try:
        patches = tuple(_patch(path, name, entry) for name, entry in content["patches"].items())
        found = PatchSet(
            path.parent.name,
            content["repository"],
            content["commit"],
            content["files"],
            patches,
            content.get("history", {}),
            tuple(content.get("requires", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a patch manifest ({type(error).__name__}: {error})") from error
    for name in {*found.originals, *(name for patch in patches for name in patch.paths)}:
        _check_inside(name, path)
        if name not in found.originals:
            raise DataError(f"{path}: a patch changes {name}, whose original hash is not listed under 'files'")
    return found


def _patch(manifest: Path, name: str, entry: Mapping[str, Any]) -> Patch:
    insertions: tuple[Insertion, ...] = ()
    if "diff" in entry:
        diff = manifest.parent / entry["diff"]
        if not diff.is_file():
            raise DataError(f"{manifest}: {diff.name} is not there")
        insertions = parse_diff(diff.read_text(encoding="utf-8"), str(diff))
    substitutions = tuple(
        Substitution(rule["file"], int(rule["line"]), rule["find"].encode(), rule["replace"].encode())
        for rule in entry.get("substitute", ())
    )
    return Patch(name, entry["summary"], insertions, substitutions, dict(entry["after"]))


def _check_inside(name: str, manifest: Path) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name:
        raise DataError(f"{manifest}: {name!r} points outside the checkout; expected a relative path without '..'")
