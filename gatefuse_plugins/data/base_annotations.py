"""What every composed-retrieval annotation comes down to: a gallery, and queries as rows of index arrays."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.errors import ConfigError, DataError, suggestion
from gatefuse_plugins.files import read_json

MARKER = "gatefuse_dataset.json"
LONG_CAPTION_WORDS = 32  # SPRC's tokenizer keeps 32 tokens, and a word is at least one
UNKNOWN = -1

IntArray = np.ndarray


@dataclass
class Annotations:
    """Queries over a gallery; all index arrays are int64 and point into ``gallery``.

    ``reference``, ``target`` (``UNKNOWN`` where not given), ``pairid`` and ``cluster`` are (Nq,); ``members`` (Nq, 6)
    for CIRR; ``category`` (Nq,) and ``gallery_category`` (Ng,) for FashionIQ. ``captions`` holds one tuple of one or
    two texts per query, ``paths`` one file per gallery row.
    """

    identity: dict[str, Any]
    gallery: list[str]
    paths: list[Path]
    captions: list[tuple[str, ...]]
    reference: IntArray
    target: IntArray
    cluster: IntArray
    pairid: IntArray
    members: IntArray | None = None
    category: IntArray | None = None
    gallery_category: IntArray | None = None
    notes: list[str] = field(default_factory=list)


def check_choice(kind: str, value: str, choices: Sequence[str]) -> None:
    """Raise :class:`ConfigError` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f"{kind}={value!r}, expected one of {', '.join(choices)}{suggestion(str(value), choices)}")


def find_root(data_root: str | Path, subfolders: Sequence[str], holds: str) -> Path:
    """The first of ``data_root/subfolder`` that has a folder ``holds``; :class:`DataError` where none has."""
    root = Path(data_root)
    for subfolder in subfolders:
        if (root / subfolder / holds).is_dir():
            return root / subfolder
    tried = ", ".join(str(root / subfolder / holds) for subfolder in subfolders)
    hint = ""
    if (root.parent / holds).is_dir() and root.name == Path(holds).parts[0]:
        hint = f"; data_root is one folder too deep, give {root.parent}"
    raise DataError(f"data_root {root}: no annotations there, expected one of the folders {tried}{hint}")


def read_records(path: Path, fields: Mapping[str, type], faults: Faults) -> list[dict[str, Any]]:
    """The JSON objects of the list in ``path`` that have all ``fields`` of the right types; others become faults."""
    try:
        records = read_json(path)
    except DataError as error:
        faults.add("unreadable annotation files", error)
        return []
    if not isinstance(records, list):
        faults.add("annotation files that hold no list of queries", path)
        return []
    good = []
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            faults.add(f"{path}: entries that are no JSON objects", f"entry {number}")
            continue
        wrong = [name for name, kind in fields.items() if not isinstance(record.get(name), kind)]
        for name in wrong:
            kind_name = fields[name].__name__
            faults.add(f"{path}: queries without a valid {name!r} (expected {kind_name})", f"entry {number}")
        if not wrong:
            good.append(record)
    return good


def look_up(names: Sequence[str], rows: Mapping[str, int], faults: Faults, kind: str) -> IntArray:
    """Gallery rows (n,) of ``names``; unknown names are recorded under ``kind`` and give ``UNKNOWN``."""
    faults.add(kind, *dict.fromkeys(name for name in names if name not in rows))
    return np.array([rows.get(name, UNKNOWN) for name in names], dtype=np.int64).reshape(-1)


def dataset_identity(root: Path, name: str, split: str, sources: Sequence[Path]) -> dict[str, Any]:
    """``dict(name, split, digest, embedded)``: from the marker of a generated set, else from the annotation files."""
    marker = root / MARKER
    if marker.exists():
        stated = read_json(marker)
        lacking = [key for key in ("name", "digest", "embedded") if key not in stated]
        if lacking:
            raise DataError(f"{marker}: lacks {', '.join(lacking)}; make the embedded set again")
        return {key: stated[key] for key in ("name", "digest", "embedded")} | {"split": split}
    digest = hashlib.sha256()
    for source in sources:
        if source.is_file():  # an absent one is reported as a fault by the reader
            digest.update(source.name.encode() + b"\0" + hashlib.sha256(source.read_bytes()).digest())
    return {"name": name, "split": split, "digest": digest.hexdigest(), "embedded": False}


def caption_notes(captions: Sequence[tuple[str, ...]]) -> list[str]:
    """Remarks on captions that are unusual but usable: how many, and how they are treated."""
    texts = [text for group in captions for text in group]
    empty = sum(not text.strip() for text in texts)
    lengthy = sum(len(text.split()) > LONG_CAPTION_WORDS for text in texts)
    foreign = sum(any(c.isalpha() and "LATIN" not in unicodedata.name(c, "LATIN") for c in text) for text in texts)
    remarks = [
        (empty, "empty caption(s), kept as empty text"),
        (lengthy, f"caption(s) of more than {LONG_CAPTION_WORDS} words, cut to length by the tokenizer"),
        (foreign, "caption(s) with non-Latin letters, kept; an English tokenizer may not know them"),
    ]
    return [f"{count} {text}" for count, text in remarks if count]


def log_notes(annotations: Annotations) -> None:
    """Log every note, prefixed with the name and split of the data set."""
    identity = annotations.identity
    for note in annotations.notes:
        print_log(f"{identity['name']} {identity['split']}: {note}", logger="current")
