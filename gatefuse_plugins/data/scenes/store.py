"""The folder of an embedded set: complete with a marker, interrupted with a draft marker, or not ours to touch."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gatefuse_plugins.data.base_annotations import MARKER
from gatefuse_plugins.data.embedded_set import set_digest, verified_identity
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.data.scenes.config import SceneSetConfig
from gatefuse_plugins.data.scenes.rendering import render, save_png
from gatefuse_plugins.data.scenes.vocabulary import COLOUR_NAMES, SHAPES, SIZES, Scene, scene_attributes
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer, write_json

GENERATOR_VERSION = 1
"""Raised whenever the same config would give another set."""

ATTRIBUTES = "attributes.npz"
_DRAFT_MARKER = "gatefuse_dataset.draft.json"
_RENDER_CHUNK = 1000


"""Called with (images written, images in all)."""


def make_set(
    root: Path,
    layout: str,
    config: SceneSetConfig,
    top_level: tuple[str, ...],
    write: Callable[[], dict[str, Scene]],
    progress: Progress | None,
) -> dict[str, Any]:
    """Make the set under ``root`` unless it stands there already, and return its identity.

    Args:
        layout: ``"cirr"`` or ``"fashioniq"``.
        top_level: the folders of ``root`` that the set consists of; an interrupted set is cleared from these alone.
        write: writes the annotations and returns the scene of each image by its path relative to ``root``.

    Raises:
        DataError: ``root`` holds anything but this very set or an interrupted one, or its annotations were changed.
    """
    label = {"cirr": "CIRR", "fashioniq": "FashionIQ"}[layout]
    identity: dict[str, Any] = {
        "name": f"embedded scenes (not {label})",
        "generator_version": GENERATOR_VERSION,
        "config": dataclasses.asdict(config),
        "embedded": True,
        "layout": layout,
    }
    if (root / MARKER).exists():
        return verified_identity(root, identity, _digested)
    _clear_interrupted(root, top_level)
    write_json(root / _DRAFT_MARKER, identity)
    images = write()
    _write_attributes(root / ATTRIBUTES, images)
    _write_images(root, images, config.image_size, progress)
    identity["digest"] = set_digest(root, _digested(root))
    write_json(root / MARKER, identity)
    (root / _DRAFT_MARKER).unlink()
    return identity


def _clear_interrupted(root: Path, top_level: tuple[str, ...]) -> None:
    entries = {entry.name for entry in root.iterdir()} if root.is_dir() else set()
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: is a file, expected a new or empty folder for the embedded set")
    foreign = sorted(name for name in entries - {*top_level, ATTRIBUTES, _DRAFT_MARKER} if not _is_temporary(name))
    if foreign or (entries and _DRAFT_MARKER not in entries):
        raise DataError(
            f"{root}: holds {', '.join(foreign or sorted(entries))}, which is no embedded set and is left untouched; "
            "expected a new or empty folder"
        )
    for name in top_level:
        if (root / name).exists():
            shutil.rmtree(root / name)


def _is_temporary(name: str) -> bool:
    """Whether ``name`` is what an atomic write leaves behind when the process is killed in the middle of it."""
    return name.startswith((f".{ATTRIBUTES}.", f".{MARKER}.", f".{_DRAFT_MARKER}.")) and name.endswith(".tmp")


def _write_attributes(path: Path, images: dict[str, Scene]) -> None:
    with atomic_writer(path) as stream:
        np.savez_compressed(
            stream,
            names=np.asarray([Path(relative).stem for relative in images]),
            paths=np.asarray(list(images)),
            attributes=scene_attributes(list(images.values())),
            shapes=np.asarray(SHAPES),
            colours=np.asarray(COLOUR_NAMES),
            sizes=np.asarray(SIZES),
        )


def _write_images(root: Path, images: dict[str, Scene], image_size: int, progress: Progress | None) -> None:
    paths = list(images)
    for folder in sorted({str(PurePosixPath(path).parent) for path in paths}):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for start in range(0, len(paths), _RENDER_CHUNK):
        chunk = paths[start : start + _RENDER_CHUNK]
        for path, pixels in zip(chunk, render([images[path] for path in chunk], image_size), strict=True):
            save_png(root / path, pixels)
        if progress is not None:
            progress(start + len(chunk), len(paths))


def _digested(root: Path) -> list[Path]:
    """Every annotation file, and the stored attributes."""
    return sorted([*root.glob("**/captions/*.json"), *root.glob("**/image_splits/*.json"), root / ATTRIBUTES])
