"""Embedded sets on disk: layout, determinism, and what happens to folders that are there already."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gatefuse_plugins.data.scenes import SceneSetConfig, make_cirr_scenes, make_fashioniq_scenes, store
from gatefuse_plugins.data.scenes.reading import read_training_images
from gatefuse_plugins.errors import ConfigError, DataError

SMALL = SceneSetConfig(
    num_train_images=40, num_train_queries=60, num_val_images=20, num_val_queries=15, num_test_queries=10
)


def tree_digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    listing = [f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def load(path: Path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def cirr(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "cirr_set"
    make_cirr_scenes(root, SMALL)
    return root


@pytest.mark.parametrize(("split", "images", "queries"), [("train", 40, 60), ("val", 20, 15), ("test1", 20, 10)])
def test_cirr_layout(cirr, split, images, queries):
    captions = load(cirr / "cirr" / "captions" / f"cap.rc2.{split}.json")
    names = load(cirr / "cirr" / "image_splits" / f"split.rc2.{split}.json")
    assert (len(names), len(captions)) == (images, queries)
    assert all(Image.open(cirr / path).size == (48, 48) for path in names.values())
    for entry in captions:
        members = entry["img_set"]["members"]
        assert len(set(members)) == 6 and set(members) <= set(names) and entry["reference"] in members
        assert ("target_hard" in entry) == (split != "test1") == ("target_rank" in entry["img_set"])
        if split != "test1":
            assert entry["target_hard"] in members and entry["target_soft"] == {entry["target_hard"]: 1.0}
            assert entry["target_hard"] != entry["reference"]


def test_pair_ids_are_unique_and_set_ids_number_clusters(cirr):
    entries = [entry for path in sorted(cirr.glob("cirr/captions/*.json")) for entry in load(path)]
    assert len({entry["pairid"] for entry in entries}) == len(entries) == 85
    clusters = {entry["img_set"]["id"]: entry["reference"].rsplit("-img", 1)[0] for entry in entries}
    assert len(clusters) == len(set(clusters.values())) == 4


def test_no_two_gallery_images_look_alike(cirr):
    pixels = {np.asarray(Image.open(path)).tobytes() for path in cirr.rglob("*.png")}
    assert len(pixels) == 80


def test_the_same_config_gives_the_same_bytes_and_another_seed_does_not(cirr, tmp_path):
    identity = make_cirr_scenes(tmp_path / "again", SMALL)
    assert tree_digest(tmp_path / "again") == tree_digest(cirr)
    other = SceneSetConfig(**{**identity["config"], "seed": 1})
    assert make_cirr_scenes(tmp_path / "other", other)["digest"] != identity["digest"]


def test_generator_version_pins_what_the_config_gives(cirr):
    """Fails when the generator changes: raise GENERATOR_VERSION and this digest together."""
    captions = (cirr / "cirr" / "captions" / "cap.rc2.train.json").read_bytes()
    pixels = Image.open(cirr / "dev" / "dev-0-0-img3.png").tobytes()
    assert store.GENERATOR_VERSION == 1
    assert hashlib.sha256(captions + pixels).hexdigest()[:16] == "3665485e910064f5"


def test_identity_says_that_it_is_not_cirr_and_a_complete_set_is_kept(cirr):
    image = next(cirr.rglob("*.png"))
    before = image.stat().st_mtime_ns
    calls: list[tuple[int, int]] = []
    identity = make_cirr_scenes(cirr, SMALL, lambda done, total: calls.append((done, total)))
    assert identity == load(cirr / "gatefuse_dataset.json")
    assert identity["name"] == "embedded scenes (not CIRR)"
    assert identity["embedded"] is True and identity["layout"] == "cirr" and len(identity["digest"]) == 64
    assert image.stat().st_mtime_ns == before and calls == []


def test_an_interrupted_set_is_remade(tmp_path, cirr):
    root = tmp_path / "interrupted"

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_cirr_scenes(root, SMALL, interrupt)
    assert not (root / "gatefuse_dataset.json").exists()
    (root / "train" / "left_over.png").write_bytes(b"half an image")
    make_cirr_scenes(root, SMALL)
    assert tree_digest(root) == tree_digest(cirr)


def test_folders_that_hold_anything_else_are_never_overwritten(tmp_path, cirr):
    (tmp_path / "cirr").mkdir()
    (tmp_path / "cirr" / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="holds cirr, which is no embedded set"):
        make_cirr_scenes(tmp_path, SMALL)
    assert (tmp_path / "cirr" / "mine.txt").read_text() == "precious"
    with pytest.raises(DataError, match="holds another embedded set.*'seed': 0"):
        make_cirr_scenes(cirr, SceneSetConfig(**{**load(cirr / "gatefuse_dataset.json")["config"], "seed": 7}))
    with pytest.raises(DataError, match="'layout': 'cirr'"):
        make_fashioniq_scenes(cirr, SMALL)


def test_changed_annotations_are_noticed(tmp_path):
    make_cirr_scenes(tmp_path / "set", SMALL)
    captions = tmp_path / "set" / "cirr" / "captions" / "cap.rc2.val.json"
    captions.write_text(captions.read_text()[:-20])
    with pytest.raises(DataError, match="no longer match"):
        make_cirr_scenes(tmp_path / "set", SMALL)


def test_fashioniq_layout_has_one_family_of_shapes_a_category(tmp_path):
    identity = make_fashioniq_scenes(tmp_path / "fiq", SMALL)
    root = tmp_path / "fiq"
    assert identity["name"] == "embedded scenes (not FashionIQ)"
    with np.load(root / "attributes.npz") as stored:
        shape_of = dict(zip(stored["names"], stored["attributes"][:, :, 0], strict=True))
    families = {"dress": {-1, 0, 1}, "shirt": {-1, 2, 3}, "toptee": {-1, 4, 5}}
    for category, family in families.items():
        for split, queries in (("train", 20), ("val", 5), ("test", 3)):
            names = load(root / "image_splits" / f"split.{category}.{split}.json")
            captions = load(root / "captions" / f"cap.{category}.{split}.json")
            assert len(names) == 20 and len(captions) == queries
            assert all((root / "images" / f"{name}.png").is_file() for name in names)
            assert {int(code) for name in names for code in shape_of[name]} == family
            for entry in captions:
                assert entry["candidate"] in names and len(set(entry["captions"])) == 2
                assert (entry["target"] in names) if split != "test" else ("target" not in entry)


def test_training_images_are_read_without_the_other_splits(cirr):
    images, attributes = read_training_images(cirr)
    assert images.shape == (40, 48, 48, 3) and attributes.shape == (40, 9, 3)
    with pytest.raises(DataError, match="expected an embedded set"):
        read_training_images(cirr / "cirr")


def test_config_faults_are_listed_together():
    with pytest.raises(ConfigError, match=r"num_train_images=50 .*nearest: 40.*image_size=50 .*nearest: 51"):
        SceneSetConfig(num_train_images=50, num_train_queries=10, image_size=50)
    with pytest.raises(ConfigError, match=r"cluster_size=5 .*nearest: 6"):
        SceneSetConfig(cluster_size=5)
    with pytest.raises(ConfigError, match=r"num_val_queries=9999 must lie in 1 to 3800"):
        SceneSetConfig(num_val_queries=9999)
