"""The embedded scenes in CIRR's layout: ``cirr/captions``, ``cirr/image_splits`` and PNG images by split."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.data.scenes.clusters import SceneQuery, SceneSplit, make_split
from gatefuse_plugins.data.scenes.config import SceneSetConfig
from gatefuse_plugins.data.scenes.store import make_set
from gatefuse_plugins.data.scenes.vocabulary import Scene
from gatefuse_plugins.files import write_json

_IMAGE_PREFIX = {"train": "train", "val": "dev", "test1": "test1"}  # CIRR names its val images "dev"
_CLUSTERS_PER_FOLDER = 10


def make_cirr_scenes(root: Path, config: SceneSetConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Make the set under ``root`` in CIRR's layout; kept as it is where it stands complete, remade if interrupted.

    Each query has its own six ``members``: the pair and four scenes of the same cluster, single edits of the reference
    first. ``img_set.id`` numbers the cluster, so queries with equal ids are hard negatives for each other; the ranks
    are positions in ``members``. ``attributes.npz`` holds ``paths`` (N,), ``names`` (N,) and ``attributes`` (N, 9, 3):
    shape, colour and size of each cell, -1 where it is empty.

    Args:
        progress: called with (images written, images in all).

    Returns:
        The identity that ``gatefuse_dataset.json`` holds: name, generator_version, config, embedded, layout, digest.

    Raises:
        DataError: ``root`` holds anything else, or the set was changed.
    """
    root = Path(root)
    top_level = ("cirr", *_IMAGE_PREFIX.values())
    return make_set(root, "cirr", config, top_level, lambda: _write_annotations(root, config), progress)


def _write_annotations(root: Path, config: SceneSetConfig) -> dict[str, Scene]:
    rng = random.Random(f"cirr scenes {config.seed}")
    seen: set[Scene] = set()  # across splits: no validation scene is ever seen in training
    sizes = {
        "train": (config.num_train_images, config.num_train_queries),
        "val": (config.num_val_images, config.num_val_queries),
        "test1": (config.num_test_images, config.num_test_queries),
    }
    images: dict[str, Scene] = {}
    next_pair = next_cluster = 0
    for split, (num_images, num_queries) in sizes.items():
        drawn = make_split(num_images, num_queries, config.cluster_size, rng, seen)
        names = [_name(split, index, config.cluster_size) for index in range(num_images)]
        paths = [_path(split, name, index // config.cluster_size) for index, name in enumerate(names)]
        captions = [
            _caption(query, names, split, next_pair + number, next_cluster)
            for number, query in enumerate(drawn.queries)
        ]
        write_json(root / "cirr" / "captions" / f"cap.rc2.{split}.json", captions, indent=None)
        write_json(root / "cirr" / "image_splits" / f"split.rc2.{split}.json", _split_file(names, paths), indent=None)
        images |= dict(zip(paths, drawn.scenes, strict=True))
        next_pair += num_queries
        next_cluster += _num_clusters(drawn)
    return images


def _num_clusters(split: SceneSplit) -> int:
    return len(split.scenes) // split.cluster_size


def _name(split: str, index: int, cluster_size: int) -> str:
    cluster, member = divmod(index, cluster_size)
    return f"{_IMAGE_PREFIX[split]}-{cluster}-0-img{member}"


def _path(split: str, name: str, cluster: int) -> str:
    folder = f"train/{cluster // _CLUSTERS_PER_FOLDER}" if split == "train" else _IMAGE_PREFIX[split]
    return f"{folder}/{name}.png"


def _split_file(names: list[str], paths: list[str]) -> dict[str, str]:
    return {name: f"./{path}" for name, path in zip(names, paths, strict=True)}


def _caption(query: SceneQuery, names: list[str], split: str, pairid: int, first_cluster: int) -> dict[str, Any]:
    target = names[query.target]
    img_set: dict[str, Any] = {
        "id": first_cluster + query.cluster,
        "members": [names[member] for member in query.members],
        "reference_rank": query.members.index(query.reference),
    }
    entry: dict[str, Any] = {"pairid": pairid, "reference": names[query.reference]}
    if split != "test1":
        entry |= {"target_hard": target, "target_soft": {target: 1.0}}
        img_set["target_rank"] = query.members.index(query.target)
    return entry | {"caption": query.captions[0], "img_set": img_set}
