"""Small CIRR and FashionIQ trees in the published layouts, for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, seed: int, size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def cirr_record(pair: int, group: int, reference: int, target: int | None, caption: str = "make it red") -> dict:
    members = [f"dev-{group}-{i}" for i in range(6)]
    record = {"pairid": pair, "reference": members[reference], "caption": caption}
    record["img_set"] = {"id": group, "members": members, "reference_rank": 0}
    return record if target is None else record | {"target_hard": members[target]}


def write_cirr(root: Path, split: str = "val", groups: int = 2, records: list[dict] | None = None) -> Path:
    """``groups`` img_sets of six pictures, two queries each; returns ``root``."""
    names = {f"dev-{g}-{i}": f"./dev/dev-{g}-{i}.png" for g in range(groups) for i in range(6)}
    for seed, relative in enumerate(names.values()):
        write_image(root / relative, seed)
    if records is None:
        records = [cirr_record(10 * g + q, g, q, q + 1) for g in range(groups) for q in range(2)]
    for folder, name, value in (("captions", "cap", records), ("image_splits", "split", names)):
        path = root / f"cirr/{folder}/{name}.rc2.{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    return root


def write_fashioniq(root: Path, split: str = "val") -> Path:
    """Three categories of three pictures and one query each; picture ``shared`` is in all of them."""
    for number, category in enumerate(("dress", "shirt", "toptee")):
        names = [f"{category}0", f"{category}1", "shared"]
        for seed, name in enumerate(names):
            write_image(root / f"images/{name}{'.jpg' if number == 1 else '.png'}", 10 * number + seed)
        query = {"candidate": names[0], "target": "shared", "captions": ["is longer. ", "has no Sleeves?"]}
        for folder, name, value in (("captions", "cap", [query]), ("image_splits", "split", names)):
            path = root / f"{folder}/{name}.{category}.{split}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
    return root
