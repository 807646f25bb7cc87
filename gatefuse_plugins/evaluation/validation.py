"""Checks of CIRR submission files, all faults at once, before the test server (or our scorer) sees them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.evaluation.submission import LISTED, VERSION
from gatefuse_plugins.files import read_json

MAX_BYTES = 5_000_000
_HEADER = ("version", "metric")


def validate_submission(
    path: str | Path,
    annotations: str | Path | Sequence[Mapping[str, Any]],
    gallery: Iterable[str] | None = None,
    exact_count: bool = True,
) -> list[str]:
    """Every fault of a CIRR submission file, as sentences; empty when the server will take it.

    Args:
        path: a ``recall`` or ``recall_subset`` file.
        annotations: the caption file of the split (``cap.rc2.test1.json``) or its parsed entries.
        gallery: names of the split's images; with it, unknown names are faults, and a gallery of fewer than 51 images
            shortens the lists that are expected.
        exact_count: lists must have the length that the server expects; otherwise any length from 1 will do.

    Raises:
        DataError: a file is missing or not JSON at all, or the annotations are not CIRR's.
    """
    path = Path(path)
    entries = read_annotations(annotations)
    submission, faults = read_submission(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        faults.append(f"the file has {size:,} bytes, the server takes at most {MAX_BYTES:,}")
    if (version := submission.get("version")) != VERSION:
        faults.append(f"version is {version!r}, expected {VERSION!r}")
    metric = submission.get("metric")
    if metric not in LISTED:
        return [*faults, f"metric is {metric!r}, expected 'recall' or 'recall_subset'{suggestion(str(metric), LISTED)}"]
    known = {str(entry["pairid"]): entry for entry in entries}
    given = [key for key in submission if key not in _HEADER]
    faults += _pair_faults(given, known)
    names = None if gallery is None else set(gallery)
    expected: int | None = None
    if exact_count:
        # A gallery smaller than the server's cannot fill a list; one entry is the reference.
        expected = min(LISTED[metric], len(names) - 1) if names is not None else LISTED[metric]
    for pair in given:
        if pair in known:
            faults += [
                f"pair {pair}: {fault}"
                for fault in _list_faults(submission[pair], known[pair], metric, names, expected)
            ]
    return faults


def read_annotations(annotations: str | Path | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """CIRR's caption entries, read where a path is given; DataError where a field that scoring needs is absent."""
    is_path = isinstance(annotations, (str, Path))
    where = str(annotations) if is_path else "annotations"
    entries: Any = read_json(where) if is_path else annotations
    if not isinstance(entries, Sequence) or not entries:
        raise DataError(f"{where}: expected a non-empty list of CIRR caption entries (cap.rc2.*.json)")
    for number, entry in enumerate(entries):
        fits = isinstance(entry, Mapping) and {"pairid", "reference", "img_set"} <= entry.keys()
        if not fits or "members" not in entry["img_set"]:
            raise DataError(
                f"{where}: entry {number} lacks pairid, reference or img_set.members (CIRR's cap.rc2.*.json)"
            )
    return entries


def read_submission(path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """A submission's object, and a fault for each repeated key (JSON readers silently keep only the last)."""
    faults: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            repeated = sorted({key for key in keys if keys.count(key) > 1})
            faults.append(f"{len(repeated)} keys appear more than once (first: {repeated[:5]})")
        return dict(pairs)

    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=unique)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); expected a CIRR submission") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a JSON {type(value).__name__}, expected an object of pair ids")
    return value, faults


def _pair_faults(given: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    faults = []
    if missing := [pair for pair in known if pair not in set(given)]:
        faults.append(f"{len(missing)} of {len(known)} pairs are missing (first: {', '.join(missing[:5])})")
    if extra := [pair for pair in given if pair not in known]:
        faults.append(f"{len(extra)} pairs are not of this split (first: {', '.join(extra[:5])})")
    return faults


def _list_faults(
    listed: Any, entry: Mapping[str, Any], metric: str, gallery: set[str] | None, expected: int | None
) -> list[str]:
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        return ["expected a list of image names"]
    faults = []
    if expected is not None and len(listed) != expected:
        faults.append(f"lists {len(listed)} names, expected {expected}")
    if not listed:
        faults.append("lists no names")
    if len(set(listed)) != len(listed):
        faults.append(f"lists {len(listed) - len(set(listed))} names twice")
    if entry["reference"] in listed:
        faults.append(f"lists its own reference {entry['reference']}")
    members = entry["img_set"]["members"]
    if metric == "recall_subset" and (strangers := [name for name in listed if name not in members]):
        faults.append(f"{strangers[0]} is not in its image set; members: {', '.join(members)}")
    if gallery is not None and (unknown := [name for name in listed if name not in gallery]):
        faults.append(f"{unknown[0]} is not an image of the split" + f" ({len(unknown)} such names)")
    return faults
