"""Edits and captions of the embedded scenes mean what they say."""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import pytest

from gatefuse_plugins.data.scenes.captions import captions_for, describe
from gatefuse_plugins.data.scenes.clusters import make_split
from gatefuse_plugins.data.scenes.edits import Edit, EditKind, random_edit, single_edit
from gatefuse_plugins.data.scenes.rendering import render
from gatefuse_plugins.data.scenes.vocabulary import COLOURS, EMPTY, NUM_CODES, decode, encode, scene_attributes

RED_CIRCLE, BLUE_CIRCLE, LARGE_RED_CIRCLE, RED_SQUARE = (
    encode(0, 0, 0),
    encode(0, 2, 0),
    encode(0, 0, 1),
    encode(2, 0, 0),
)


def scene(**cells: int) -> tuple[int, ...]:
    return tuple(cells.get(f"c{index}", EMPTY) for index in range(9))


def test_codes_are_a_bijection():
    assert [encode(*decode(code)) for code in range(1, NUM_CODES)] == list(range(1, NUM_CODES))
    with pytest.raises(ValueError, match="no object"):
        decode(EMPTY)


def test_attributes_mark_empty_cells():
    attributes = scene_attributes([scene(c4=LARGE_RED_CIRCLE)])
    assert attributes.shape == (1, 9, 3)
    assert attributes[0, 4].tolist() == [0, 0, 1]
    assert (np.delete(attributes[0], 4, axis=0) == -1).all()


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (scene(c0=RED_CIRCLE, c5=RED_SQUARE), "add"),
        (scene(), "remove"),
        (scene(c0=BLUE_CIRCLE), "recolour"),
        (scene(c0=LARGE_RED_CIRCLE), "resize"),
        (scene(c8=RED_CIRCLE), "move"),
        (scene(c0=RED_SQUARE), "replace"),
    ],
)
def test_single_edit_recognises_each_kind_and_reproduces_the_target(target, kind):
    reference = scene(c0=RED_CIRCLE)
    edit = single_edit(reference, target)
    assert edit is not None and edit.kind == kind
    assert edit.apply(reference) == target
    back = single_edit(target, reference)
    assert back is not None and back.apply(target) == reference


def test_single_edit_rejects_equal_and_distant_scenes():
    reference = scene(c0=RED_CIRCLE)
    assert single_edit(reference, reference) is None
    assert single_edit(reference, scene(c8=BLUE_CIRCLE)) is None
    with pytest.raises(ValueError, match="does not start from"):
        Edit("remove", 3, RED_CIRCLE, EMPTY).apply(reference)


def test_random_edits_are_recognised_as_their_own_kind():
    rng = random.Random(0)
    reference = scene(c0=RED_CIRCLE, c4=RED_SQUARE)
    edits = [random_edit(reference, rng) for _ in range(300)]
    assert {edit.kind for edit in edits} == set(get_args(EditKind))
    assert all(single_edit(reference, edit.apply(reference)) == edit for edit in edits)


def test_captions_name_an_object_by_its_place_where_its_attributes_are_shared():
    twins = scene(c0=RED_CIRCLE, c8=RED_CIRCLE)
    captions = captions_for(twins, Edit("remove", 8, RED_CIRCLE, EMPTY))
    assert captions and all("in the bottom right" in caption for caption in captions)
    alone = captions_for(scene(c0=RED_CIRCLE), Edit("recolour", 0, RED_CIRCLE, BLUE_CIRCLE))
    assert "make the circle blue" in alone and "paint the small red circle blue" in alone
    assert describe(LARGE_RED_CIRCLE) == "large red circle"


def test_a_phrasing_fits_one_target_of_the_cluster_only():
    split = make_split(100, 200, 20, random.Random(1), set())
    for start in range(0, len(split.scenes), 20):
        cluster = split.scenes[start : start + 20]
        for reference in cluster:
            edits = [edit for target in cluster if (edit := single_edit(reference, target)) is not None]
            phrasings = [caption for edit in edits for caption in captions_for(reference, edit)]
            assert len(phrasings) == len(set(phrasings)) > 0


def test_no_scene_occurs_twice_across_splits_and_queries_are_single_edits():
    seen: set[tuple[int, ...]] = set()
    rng = random.Random(2)
    splits = [make_split(60, 70, 20, rng, seen), make_split(40, 30, 20, rng, seen)]
    assert len(seen) == 100 == len({scene for split in splits for scene in split.scenes})
    for split in splits:
        for query in split.queries:
            assert query.edit.apply(split.scenes[query.reference]) == split.scenes[query.target]
            assert query.captions[0] != query.captions[1]
            assert len(set(query.members)) == 6 and {query.reference, query.target} <= set(query.members)
            assert {member // 20 for member in query.members} == {query.cluster}


def test_rendering_is_exact_in_the_middle_of_objects_and_distinct_for_every_code():
    image = render([scene(c5=encode(2, 2, 1))])[0]
    assert image.shape == (48, 48, 3)
    assert tuple(image[24, 40]) == COLOURS["blue"]
    assert tuple(image[24, 24]) == (235, 235, 235)
    every = render([scene(c0=code) for code in range(NUM_CODES)])
    assert len({one.tobytes() for one in every}) == NUM_CODES
