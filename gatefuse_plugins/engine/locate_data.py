"""Whether ``data_root`` holds a data set, holds it in part, or an embedded set has to stand in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from gatefuse_plugins.data.base_annotations import dataset_identity
from gatefuse_plugins.engine.data_kinds import data_kind
from gatefuse_plugins.errors import DataError


@dataclass(frozen=True)
class DataPlace:
    """Where the data lies.

    Attributes:
        kind: name of the data set, as in ``cfg.dataset``.
        root: folder for ``data_root``.
        embedded: an embedded set is used, be it that ``data_root`` holds one.
        stands_in: it is the config's own, which has to be made where it is absent.
        reason: why, for the log.
    """

    kind: str
    root: Path
    embedded: bool
    stands_in: bool
    reason: str


def locate_data(cfg: Config) -> DataPlace:
    """Decide between ``cfg.data_root`` and the embedded set at ``cfg.embedded.root``.

    Raises:
        ConfigError: ``cfg.dataset`` is unknown.
        DataError: ``data_root`` holds the data set in part (a set is never quietly replaced), or holds none while the
            config allows no embedded set.
    """
    kind = cfg.get("dataset")
    files = data_kind(kind).files
    data_root = Path(cfg.data_root).expanduser()
    try:
        expected = files(data_root)
    except DataError as error:  # no annotation folder at all
        expected, missing = [], [str(error)]
    else:
        missing = [str(path) for path in expected if not path.is_file()]
    found = [path for path in expected if path.is_file()]
    if expected and not missing:
        folders = {data_root, expected[0].parent}
        embedded = any(dataset_identity(folder, kind, "", ())["embedded"] for folder in folders)
        return DataPlace(kind, data_root, embedded, False, "found in data_root")
    if found:
        raise DataError(
            f"data_root={str(data_root)!r} holds {kind} in part: {len(missing)} annotation files are missing, such as"
            f" {missing[0]}; run tools/check_data.py {kind} {data_root}"
        )
    if not cfg.get("embedded"):
        raise DataError(f"data_root={str(data_root)!r} holds no {kind}: {missing[0]}")
    state = "does not exist" if not data_root.exists() else f"holds no {kind}"
    return DataPlace(kind, Path(cfg.embedded.root), True, True, f"data_root={str(data_root)!r} {state}")
