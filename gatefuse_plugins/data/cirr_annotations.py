"""Reader of CIRR's annotation files, release rc2 (Liu et al., ICCV 2021)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from gatefuse_plugins.data.base_annotations import (
    UNKNOWN,
    Annotations,
    caption_notes,
    dataset_identity,
    find_root,
    look_up,
    read_records,
)
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import read_json

SPLITS = ("train", "val", "test1")
SUBSET_SIZE = 6


def cirr_root(data_root: str | Path) -> Path:
    """The folder that holds ``cirr/captions`` and the pictures: ``data_root`` or its ``cirr_dataset`` (SPRC)."""
    return find_root(data_root, ("", "cirr_dataset"), "cirr/captions")


def cirr_files(root: Path, split: str) -> tuple[Path, Path]:
    """Caption file and image split file of ``split``."""
    return root / f"cirr/captions/cap.rc2.{split}.json", root / f"cirr/image_splits/split.rc2.{split}.json"


def read_image_split(path: Path, faults: Faults) -> dict[str, str]:
    """Name -> relative image path. A name given twice is a fault: JSON readers would keep the last one silently."""
    try:
        mapping = read_json(path)
    except DataError as error:
        faults.add("unreadable annotation files", error)
        return {}
    if not isinstance(mapping, dict) or not all(isinstance(value, str) for value in mapping.values()):
        faults.add("image split files that are no mapping of name to relative path", path)
        return {}
    pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    faults.add(f"{path}: duplicate image names", *repeated)
    return mapping


def read_cirr(data_root: str | Path, split: str, role: str, faults: Faults) -> Annotations:
    """Read one split. Everything wrong goes to ``faults``; the result is usable only where there are none.

    For the role ``eval`` an img_set must have six distinct members with reference and target among them, since
    R_s@k is undefined otherwise; for ``train``, which never ranks subsets, such sets are counted in ``notes``.
    """
    root = cirr_root(data_root)
    caption_file, split_file = cirr_files(root, split)
    mapping = read_image_split(split_file, faults)
    fields: dict[str, type] = {"pairid": int, "reference": str, "caption": str, "img_set": dict}
    if split != "test1":
        fields["target_hard"] = str
    records = read_records(caption_file, fields, faults)
    rows = {name: row for row, name in enumerate(mapping)}
    repeated = [pair for pair, count in Counter(r["pairid"] for r in records).items() if count > 1]
    faults.add(f"{caption_file}: duplicate pairids", *repeated)

    place = f"not in {split_file}"
    reference = look_up([r["reference"] for r in records], rows, faults, f"reference images {place}")
    target = np.full(len(records), UNKNOWN, dtype=np.int64)
    if split != "test1":
        target = look_up([r["target_hard"] for r in records], rows, faults, f"target images {place}")
    notes: list[str] = []
    subset_faults = faults if role == "eval" else Faults()
    members = _read_members(records, rows, caption_file, place, subset_faults)
    if role == "train" and subset_faults:
        notes.extend(f"img_sets, unused in training: {line}" for line in subset_faults.lines())
    _, cluster = np.unique([str(r["img_set"].get("id", r["pairid"])) for r in records], return_inverse=True)
    captions: list[tuple[str, ...]] = [(r["caption"],) for r in records]
    return Annotations(
        identity=dataset_identity(root, "CIRR rc2", split, (caption_file, split_file)),
        gallery=list(mapping),
        paths=[root / relative for relative in mapping.values()],
        captions=captions,
        reference=reference,
        target=target,
        cluster=cluster.astype(np.int64),
        pairid=np.array([r["pairid"] for r in records], dtype=np.int64),
        members=members,
        notes=notes + caption_notes(captions),
    )


def _read_members(
    records: list[dict[str, Any]], rows: dict[str, int], caption_file: Path, place: str, faults: Faults
) -> np.ndarray:
    members = np.full((len(records), SUBSET_SIZE), UNKNOWN, dtype=np.int64)
    for row, record in enumerate(records):
        pair, names = f"pairid {record['pairid']}", record["img_set"].get("members")
        if not isinstance(names, list) or len(set(map(str, names))) != SUBSET_SIZE or len(names) != SUBSET_SIZE:
            faults.add(f"{caption_file}: img_sets without six distinct members", pair)
            continue
        if record["reference"] not in names:
            faults.add(f"{caption_file}: img_sets without their reference", pair)
        if record.get("target_hard", names[0]) not in names:
            faults.add(f"{caption_file}: img_sets without their target (R_s@k is undefined)", pair)
        if record["reference"] == record.get("target_hard"):
            faults.add(f"{caption_file}: queries whose target is the reference, which ranking leaves out", pair)
        members[row] = look_up(names, rows, faults, f"img_set members {place}")
    return members
