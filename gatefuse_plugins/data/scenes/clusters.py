"""Clusters of near-duplicate scenes, and the queries (reference, edit, target) between their members."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gatefuse_plugins.data.scenes.captions import captions_for
from gatefuse_plugins.data.scenes.config import IMG_SET_SIZE
from gatefuse_plugins.data.scenes.edits import Edit, random_edit, random_object, single_edit
from gatefuse_plugins.data.scenes.vocabulary import EMPTY, NUM_CELLS, SHAPES, Scene

_BASE_OBJECTS = (3, 6)
_BASE_SHARE = 0.5  # of the edits start from the base scene, so that it has many single-edit neighbours


@dataclass(frozen=True)
class SceneQuery:
    """One composed query inside a cluster; scenes by index into the split's list, captions two different phrasings."""

    cluster: int
    reference: int
    target: int
    edit: Edit
    captions: tuple[str, str]
    members: tuple[int, ...]


@dataclass(frozen=True)
class SceneSplit:
    """The distinct scenes of a split, cluster after cluster, and its queries."""

    scenes: list[Scene]
    queries: list[SceneQuery]
    cluster_size: int


def make_split(
    num_images: int,
    num_queries: int,
    cluster_size: int,
    rng: random.Random,
    seen: set[Scene],
    shapes: Sequence[int] = range(len(SHAPES)),
) -> SceneSplit:
    """Draw a split; ``seen`` (updated) holds scenes that must not occur again, in this split or an earlier one."""
    num_clusters = num_images // cluster_size
    scenes: list[Scene] = []
    queries: list[SceneQuery] = []
    for cluster in range(num_clusters):
        offset = len(scenes)
        members = _grow_cluster(cluster_size, rng, seen, shapes)
        count = num_queries // num_clusters + (cluster < num_queries % num_clusters)
        queries += _draw_queries(members, count, cluster, offset, rng)
        scenes += members
    return SceneSplit(scenes, queries, cluster_size)


def _grow_cluster(size: int, rng: random.Random, seen: set[Scene], shapes: Sequence[int]) -> list[Scene]:
    """A base scene and edits of it or of its edits: a random tree, each edge of which is a single edit."""
    while (base := _random_scene(rng, shapes)) in seen:
        pass
    seen.add(base)
    members = [base]
    while len(members) < size:
        parent = base if rng.random() < _BASE_SHARE else rng.choice(members)
        scene = random_edit(parent, rng, shapes).apply(parent)
        if scene not in seen:
            seen.add(scene)
            members.append(scene)
    return members


def _random_scene(rng: random.Random, shapes: Sequence[int]) -> Scene:
    cells = rng.sample(range(NUM_CELLS), rng.randint(*_BASE_OBJECTS))
    return tuple(random_object(rng, shapes) if cell in cells else EMPTY for cell in range(NUM_CELLS))


def _draw_queries(scenes: list[Scene], count: int, cluster: int, offset: int, rng: random.Random) -> list[SceneQuery]:
    neighbours = _neighbours(scenes)
    pairs = [(reference, target) for reference, edits in enumerate(neighbours) for target in edits]
    queries = []
    for reference, target in _spread_over_targets(pairs, rng)[:count]:
        edit = neighbours[reference][target]
        first, second = rng.sample(captions_for(scenes[reference], edit), 2)
        members = _img_set(reference, target, neighbours, rng)
        placed = tuple(offset + member for member in members)
        queries.append(SceneQuery(cluster, offset + reference, offset + target, edit, (first, second), placed))
    return queries


def _neighbours(scenes: list[Scene]) -> list[dict[int, Edit]]:
    """For each scene, the members one edit away; siblings that differ by one edit count, not only tree edges."""
    found: list[dict[int, Edit]] = [{} for _ in scenes]
    for reference, scene in enumerate(scenes):
        for target, other in enumerate(scenes):
            edit = single_edit(scene, other)
            if edit is not None:
                found[reference][target] = edit
    return found


def _spread_over_targets(pairs: list[tuple[int, int]], rng: random.Random) -> list[tuple[int, int]]:
    """Shuffle, then take each target once before any twice: else the base scene alone would be a good guess."""
    shuffled = rng.sample(pairs, len(pairs))
    uses: Counter[int] = Counter()
    rounds = []
    for _, target in shuffled:
        rounds.append(uses[target])
        uses[target] += 1
    return [shuffled[index] for index in sorted(range(len(shuffled)), key=rounds.__getitem__)]


def _img_set(reference: int, target: int, neighbours: list[dict[int, Edit]], rng: random.Random) -> list[int]:
    """Six members in random order: the pair and hard negatives, those one edit from the reference first."""
    pair = (reference, target)
    near = [index for index in neighbours[reference] if index not in pair]
    far = [index for index in range(len(neighbours)) if index not in neighbours[reference] and index not in pair]
    negatives = rng.sample(near, len(near)) + rng.sample(far, len(far))
    members = [*pair, *negatives[: IMG_SET_SIZE - 2]]
    return rng.sample(members, len(members))
