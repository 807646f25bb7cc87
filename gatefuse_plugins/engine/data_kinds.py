"""The data sets that a config may name: which files tell that the real one is there, and what stands in for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from gatefuse_plugins.config.rules import unknown_keys
from gatefuse_plugins.data.cirr_annotations import cirr_files, cirr_root
from gatefuse_plugins.data.clips import ClipSetConfig, make_msrvtt_clips
from gatefuse_plugins.data.events import EventSetConfig, make_qvhighlights_events, make_tvsum_events
from gatefuse_plugins.data.fashioniq_annotations import CATEGORIES, fashioniq_files, fashioniq_root
from gatefuse_plugins.data.moments.places import moment_files
from gatefuse_plugins.data.msrvtt import msrvtt_files, msrvtt_root
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.data.scenes import SceneSetConfig, make_cirr_scenes, make_fashioniq_scenes
from gatefuse_plugins.errors import ConfigError, suggestion

SetConfig = SceneSetConfig | EventSetConfig | ClipSetConfig


@dataclass(frozen=True)
class DataKind:
    """One data set.

    Attributes:
        files: data root -> the annotation files of the real set; may raise DataError where no folder fits.
        sizes: class of the sizes of the embedded set.
        write: ``write(root, sizes, progress)`` writes the embedded set, or keeps the one that stands there.
    """

    files: Callable[[Path], list[Path]]
    sizes: type[SetConfig]
    write: Callable[[Path, Any, Progress | None], object]

    def faults(self, options: Mapping[str, Any], path: str) -> list[str]:
        """What is wrong with a config's ``options`` (all but the set's ``root``), which stand at ``path``."""
        known = {field.name: type(field.default) for field in fields(self.sizes)}
        faults = unknown_keys(options, path, known)
        for key, value in options.items():
            wanted = known.get(key)
            if wanted and (isinstance(value, bool) or not isinstance(value, int if wanted is int else int | float)):
                faults.append(f"{path}.{key}: {value!r}; expected {'an int' if wanted is int else 'a number'}")
        if not faults:
            try:
                self.sizes(**options)
            except ConfigError as error:
                faults.append(f"{path}: {error}")
        return faults

    def make(self, root: Path, options: Mapping[str, Any], progress: Progress | None = None) -> None:
        """Write the embedded set of the sizes ``options`` at ``root``, or keep the one that stands there.

        Raises:
            ConfigError: an unknown key, a value that is no number, or sizes that do not fit each other.
            DataError: ``root`` holds anything but this very set.
        """
        if faults := self.faults(options, "embedded"):
            raise ConfigError("\n".join(faults))
        self.write(root, self.sizes(**options), progress)


def _cirr_files(root: Path) -> list[Path]:
    return [path for split in ("train", "val") for path in cirr_files(cirr_root(root), split)]


def _fashioniq_files(root: Path) -> list[Path]:
    folder = fashioniq_root(root)
    return [path for category in CATEGORIES for path in fashioniq_files(folder, category, "val")]


def _msrvtt_files(root: Path) -> list[Path]:
    folder = msrvtt_root(root)
    return [path for split in ("train", "test") for path in msrvtt_files(folder, split)]


KINDS: dict[str, DataKind] = {
    "cirr": DataKind(_cirr_files, SceneSetConfig, make_cirr_scenes),
    "fashioniq": DataKind(_fashioniq_files, SceneSetConfig, make_fashioniq_scenes),
    "qvhighlights": DataKind(partial(moment_files, "qvhighlights"), EventSetConfig, make_qvhighlights_events),
    "tvsum": DataKind(partial(moment_files, "tvsum"), EventSetConfig, make_tvsum_events),
    "msrvtt": DataKind(_msrvtt_files, ClipSetConfig, make_msrvtt_clips),
}


def data_kind(name: Any) -> DataKind:
    """The kind that ``cfg.dataset`` names.

    Raises:
        ConfigError: no such kind.
    """
    if name not in KINDS:
        raise ConfigError(f"dataset={name!r} is unknown{suggestion(str(name), KINDS)}")
    return KINDS[name]
