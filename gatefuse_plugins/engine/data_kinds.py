"""The data sets that a config may name: which files tell that the real one is there, and what stands in for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.cirr_annotations import cirr_files, cirr_root
from gatefuse_plugins.data.clips import ClipSetConfig, make_msrvtt_clips
from gatefuse_plugins.data.events import EventSetConfig, make_qvhighlights_events, make_tvsum_events
from gatefuse_plugins.data.fashioniq_annotations import CATEGORIES, fashioniq_files, fashioniq_root
from gatefuse_plugins.data.moments.places import moment_files
from gatefuse_plugins.data.msrvtt import msrvtt_files, msrvtt_root
from gatefuse_plugins.data.scenes import SceneSetConfig, make_cirr_scenes, make_fashioniq_scenes
from gatefuse_plugins.errors import ConfigError, suggestion

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DataKind:
    """One data set.

    Attributes:
        files: data root -> the annotation files of the real set; may raise DataError where no folder fits.
        make: ``make(root, options, progress)`` writes the embedded set, or keeps the one that stands there.
    """

    files: Callable[[Path], list[Path]]
    make: Callable[[Path, Mapping[str, Any], Progress | None], None]


def _cirr_files(root: Path) -> list[Path]:
    return [path for split in ("train", "val") for path in cirr_files(cirr_root(root), split)]


def _fashioniq_files(root: Path) -> list[Path]:
    folder = fashioniq_root(root)
    return [path for category in CATEGORIES for path in fashioniq_files(folder, category, "val")]


def _msrvtt_files(root: Path) -> list[Path]:
    folder = msrvtt_root(root)
    return [path for split in ("train", "test") for path in msrvtt_files(folder, split)]


def _make_cirr(root: Path, options: Mapping[str, Any], progress: Progress | None) -> None:
    make_cirr_scenes(root, SceneSetConfig(**options), progress)


def _make_fashioniq(root: Path, options: Mapping[str, Any], progress: Progress | None) -> None:
    make_fashioniq_scenes(root, SceneSetConfig(**options), progress)


def _make_qvhighlights(root: Path, options: Mapping[str, Any], progress: Progress | None) -> None:
    make_qvhighlights_events(root, EventSetConfig(**options), progress)


def _make_tvsum(root: Path, options: Mapping[str, Any], progress: Progress | None) -> None:
    make_tvsum_events(root, EventSetConfig(**options), progress)


def _make_msrvtt(root: Path, options: Mapping[str, Any], progress: Progress | None) -> None:
    make_msrvtt_clips(root, ClipSetConfig(**options), progress)


KINDS: dict[str, DataKind] = {
    "cirr": DataKind(_cirr_files, _make_cirr),
    "fashioniq": DataKind(_fashioniq_files, _make_fashioniq),
    "qvhighlights": DataKind(partial(moment_files, "qvhighlights"), _make_qvhighlights),
    "tvsum": DataKind(partial(moment_files, "tvsum"), _make_tvsum),
    "msrvtt": DataKind(_msrvtt_files, _make_msrvtt),
}


def data_kind(name: Any) -> DataKind:
    """The kind that ``cfg.dataset`` names.

    Raises:
        ConfigError: no such kind.
    """
    if name not in KINDS:
        raise ConfigError(f"dataset={name!r} is unknown{suggestion(str(name), KINDS)}")
    return KINDS[name]
