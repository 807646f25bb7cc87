"""``index.json`` and ``items.json`` of a gallery index: what they must hold, judged before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.files import read_json
from gatefuse_plugins.retrieval.kinds import KINDS

FORMAT = 2
HEADER_FILE, ITEMS_FILE = "index.json", "items.json"
_Types = Mapping[str, Any]  # what isinstance() takes
HEADER_TYPES: _Types = {
    "format": int,
    "kind": str,
    "dataset": dict,
    "checkpoint": str,
    "checkpoint_sha256": str,
    "model": dict,
    "arrays": dict,
    "items_sha256": str,
}
PICTURE_TYPES: _Types = {"transform": list, "token_dtype": str | None}
"""Of pictures also: how a new one becomes a query."""
DATASET_TYPES: _Types = {"name": str, "split": str}
ARRAY_TYPES: _Types = {"shape": list, "dtype": str, "sha256": str}
REMEDY = "make the index again: tools/index_gallery.py --force"
_WORDS = {int: "a number", str: "a string", str | None: "a string or null", dict: "an object", list: "a list"}


def read_header(folder: Path) -> dict[str, Any]:
    """``index.json`` of the index in ``folder``.

    Raises:
        DataError: not JSON, another format, or an entry that is missing, of another type, or unknown.
    """
    path = folder / HEADER_FILE
    header = read_json(path)
    if isinstance(header, dict) and header.get("format", FORMAT) != FORMAT:
        raise DataError(f"{path}: is format {header['format']}, expected format {FORMAT}; {REMEDY}")
    _check_entries(path, "the header", header, HEADER_TYPES)
    if (kind := KINDS.get(header["kind"])) is None:
        raise DataError(f"{path}: kind {header['kind']!r} is unknown{suggestion(header['kind'], KINDS)}; {REMEDY}")
    if header["kind"] == "image":
        _check_entries(path, "the header", header, PICTURE_TYPES)
    _check_entries(path, "dataset", header["dataset"], DATASET_TYPES)
    if set(header["arrays"]) != set(kind.arrays):
        raise DataError(
            f"{path}: names arrays {sorted(header['arrays'])}, expected {sorted(kind.arrays)} of {kind.name}s; {REMEDY}"
        )
    for name, stated in header["arrays"].items():
        _check_entries(path, f"arrays.{name}", stated, ARRAY_TYPES)
    return header


def read_items(folder: Path) -> tuple[list[str], list[str | None]]:
    """Names and paths of ``items.json``.

    Raises:
        DataError: not JSON, or no lists of names and of paths.
    """
    path = folder / ITEMS_FILE
    items = read_json(path)
    _check_entries(path, "the file", items, {"names": list, "paths": list})
    strings = all(isinstance(name, str) for name in items["names"])
    if not strings or not all(one is None or isinstance(one, str) for one in items["paths"]):
        raise DataError(f"{path}: expected names that are strings, and paths that are strings or null; {REMEDY}")
    return items["names"], items["paths"]


def _check_entries(path: Path, what: str, found: Any, types: _Types) -> None:
    if not isinstance(found, dict):
        raise DataError(f"{path}: {what} is {found!r:.60}, expected an object with {', '.join(types)}; {REMEDY}")
    for key, kind in types.items():
        if key not in found:
            raise DataError(f"{path}: {what} lacks {key}; {REMEDY}")
        if not isinstance(found[key], kind):
            raise DataError(f"{path}: {key} of {what} is {found[key]!r:.60}, expected {_WORDS[kind]}; {REMEDY}")
