"""The embedded scenes in FashionIQ's layout: ``captions``, ``image_splits`` and ``images`` by name."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.data.scenes.clusters import make_split
from gatefuse_plugins.data.scenes.config import SceneSetConfig
from gatefuse_plugins.data.scenes.store import make_set
from gatefuse_plugins.data.scenes.vocabulary import SHAPES, Scene
from gatefuse_plugins.files import write_json

_FAMILIES = {"dress": ("circle", "ring"), "shirt": ("square", "diamond"), "toptee": ("triangle", "cross")}


def make_fashioniq_scenes(root: Path, config: SceneSetConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Make the set under ``root`` in FashionIQ's layout; idempotent as :func:`make_cirr_scenes` is.

    Each category draws its scenes from one family of shapes: dress circles and rings, shirt squares and diamonds,
    toptee triangles and crosses. It gets a third of the config's clusters and queries (at least one cluster and one
    query). The two captions of a query phrase the same edit differently; the test split has no targets.

    Returns:
        The identity that ``gatefuse_dataset.json`` holds.

    Raises:
        DataError: ``root`` holds anything else, or the set was changed.
    """
    root = Path(root)
    top_level = ("captions", "image_splits", "images")
    return make_set(root, "fashioniq", config, top_level, lambda: _write_annotations(root, config), progress)


def _write_annotations(root: Path, config: SceneSetConfig) -> dict[str, Scene]:
    rng = random.Random(f"fashioniq scenes {config.seed}")
    seen: set[Scene] = set()
    images: dict[str, Scene] = {}
    for category, family in _FAMILIES.items():
        shapes = [SHAPES.index(name) for name in family]
        for split in ("train", "val", "test"):
            num_images, num_queries = _share(config, split)
            drawn = make_split(num_images, num_queries, config.cluster_size, rng, seen, shapes)
            names = [f"{category}-{split}-{index:05d}" for index in range(num_images)]
            captions = [
                {"candidate": names[query.reference], "captions": list(query.captions)}
                | ({} if split == "test" else {"target": names[query.target]})
                for query in drawn.queries
            ]
            write_json(root / "captions" / f"cap.{category}.{split}.json", captions, indent=None)
            write_json(root / "image_splits" / f"split.{category}.{split}.json", names, indent=None)
            images |= {f"images/{name}.png": scene for name, scene in zip(names, drawn.scenes, strict=True)}
    return images


def _share(config: SceneSetConfig, split: str) -> tuple[int, int]:
    """``(images, queries)`` of one category: a third, rounded to whole clusters and to what these can hold."""
    images = getattr(config, f"num_{split}_images")
    queries = getattr(config, f"num_{split}_queries")
    if queries == 0:
        return 0, 0
    clusters = max(1, images // config.cluster_size // len(_FAMILIES))
    most = clusters * config.max_queries_per_cluster
    return clusters * config.cluster_size, min(most, max(1, queries // len(_FAMILIES)))
