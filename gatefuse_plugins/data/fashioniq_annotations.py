"""Reader of FashionIQ's annotation files (Wu et al., CVPR 2021)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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
from gatefuse_plugins.data.images import IMAGE_SUFFIXES
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import read_json

SPLITS = ("train", "val", "test")
CATEGORIES = ("dress", "shirt", "toptee")


def fashioniq_root(data_root: str | Path) -> Path:
    """The folder that holds ``captions``, ``image_splits`` and ``images``: ``data_root`` or SPRC's subfolder."""
    return find_root(data_root, ("", "fashionIQ_dataset"), "captions")


def fashioniq_files(root: Path, category: str, split: str) -> tuple[Path, Path]:
    """Caption file and image split file of one category of ``split``."""
    return root / f"captions/cap.{category}.{split}.json", root / f"image_splits/split.{category}.{split}.json"


def image_paths(root: Path, names: Sequence[str]) -> list[Path]:
    """``images/{name}`` with the first suffix that exists; ``.png``, the published one, where there is none."""
    folder = root / "images"
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    found = {}
    for name in names:
        suffixes = [suffix for suffix in IMAGE_SUFFIXES if name + suffix in present]
        found[name] = folder / (name + (suffixes[0] if suffixes else IMAGE_SUFFIXES[0]))
    return [found[name] for name in names]


def read_image_list(path: Path, faults: Faults) -> list[str]:
    """The names of one category; one given twice is a fault."""
    try:
        names = read_json(path)
    except DataError as error:
        faults.add("unreadable annotation files", error)
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        faults.add("image split files that are no list of names", path)
        return []
    faults.add(f"{path}: duplicate image names", *(name for name, count in Counter(names).items() if count > 1))
    return names


def read_fashioniq(data_root: str | Path, split: str, categories: Sequence[str], faults: Faults) -> Annotations:
    """Read one split of ``categories``. Everything wrong goes to ``faults``.

    A picture that two categories share (121 of val) has a gallery row in each, since each category is ranked alone;
    queries point to the row in their own. ``category`` numbers follow the order of ``categories``.
    """
    root = fashioniq_root(data_root)
    sources: list[Path] = []
    gallery: list[str] = []
    captions: list[tuple[str, ...]] = []
    references, targets, query_category, gallery_category = [], [], [], []
    fields: dict[str, type] = {"candidate": str, "captions": list}
    if split != "test":
        fields["target"] = str
    for number, category in enumerate(categories):
        caption_file, split_file = fashioniq_files(root, category, split)
        sources += [caption_file, split_file]
        names = read_image_list(split_file, faults)
        rows = {name: len(gallery) + row for row, name in enumerate(names)}
        records = read_records(caption_file, fields, faults)
        for position, record in enumerate(records):
            texts = record["captions"]
            if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
                faults.add(f"{caption_file}: queries without exactly two captions", f"entry {position}")
        references.append(
            look_up([r["candidate"] for r in records], rows, faults, f"reference images not in {split_file}")
        )
        if split == "test":
            targets.append(np.full(len(records), UNKNOWN, dtype=np.int64))
        else:
            targets.append(look_up([r["target"] for r in records], rows, faults, f"target images not in {split_file}"))
        captions += [tuple(map(str, r["captions"])) for r in records]
        query_category.append(np.full(len(records), number, dtype=np.int64))
        gallery_category.append(np.full(len(names), number, dtype=np.int64))
        gallery += names
    category_of_query = np.concatenate(query_category)
    return Annotations(
        identity=dataset_identity(root, "FashionIQ", split, sources),
        gallery=gallery,
        paths=image_paths(root, gallery),
        captions=captions,
        reference=np.concatenate(references),
        target=np.concatenate(targets),
        cluster=category_of_query,
        pairid=np.arange(len(captions), dtype=np.int64),  # FashionIQ numbers no queries; their order is the id
        category=category_of_query,
        gallery_category=np.concatenate(gallery_category),
        notes=caption_notes(captions),
    )
