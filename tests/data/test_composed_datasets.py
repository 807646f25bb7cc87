from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import cirr_record, write_cirr, write_fashioniq
from oracles import DATA, needs
from torch.utils.data import DataLoader

from gatefuse_plugins.data import CIRRDataset, FashionIQDataset, identity_collate
from gatefuse_plugins.errors import ConfigError, DataError

TRANSFORM = [{"type": "TargetPad"}, {"type": "ClipPreprocess", "size": 8}]


def test_cirr_eval_gives_gallery_then_queries(tmp_path: Path) -> None:
    dataset = CIRRDataset(write_cirr(tmp_path), "val", "eval", TRANSFORM)
    assert len(dataset) == 12 + 4
    batch = dataset[[11, 12, 15]]
    assert batch["image_index"].tolist() == [11] and batch["query_index"].tolist() == [0, 3]
    assert batch["image"].shape == (1, 3, 8, 8) and batch["caption"] == ["make it red"] * 2
    assert torch.equal(batch["reference"], dataset[[0, 7]]["image"])
    info = dataset.metainfo
    assert info["reference"].tolist() == [0, 1, 6, 7] and info["target"].tolist() == [1, 2, 7, 8]
    assert info["members"][2].tolist() == [6, 7, 8, 9, 10, 11] and info["pairid"].tolist() == [0, 1, 10, 11]
    assert info["identity"]["name"] == "CIRR rc2" and info["identity"]["embedded"] is False


def test_cirr_train_through_a_loader(tmp_path: Path) -> None:
    root = write_cirr(tmp_path / "cirr_dataset", "train").parent
    dataset = CIRRDataset(root, "train", "train", TRANSFORM)
    assert dataset.cluster.tolist() == [0, 0, 1, 1]
    (batch,) = DataLoader(dataset, batch_size=4, collate_fn=identity_collate, num_workers=1)
    assert batch["target_id"].tolist() == [1, 2, 7, 8]
    assert torch.equal(batch["target"][0], batch["reference"][1])  # query 0 searches what query 1 starts from


def test_marker_gives_the_identity(tmp_path: Path) -> None:
    marker = {"name": "embedded scenes", "digest": "abc", "embedded": True, "layout": "cirr"}
    (write_cirr(tmp_path) / "gatefuse_dataset.json").write_text(json.dumps(marker))
    identity = CIRRDataset(tmp_path, "val", "eval").metainfo["identity"]
    assert identity == {"name": "embedded scenes", "split": "val", "digest": "abc", "embedded": True}


def test_all_annotation_faults_are_listed_at_once(tmp_path: Path) -> None:
    records = [cirr_record(1, 0, 0, 1), cirr_record(1, 0, 1, 2), cirr_record(2, 1, 0, 1), cirr_record(3, 1, 0, 1)]
    records[1]["target_hard"] = "dev-1-0"  # in the gallery, not in its img_set
    records[2]["reference"] = records[2]["img_set"]["members"][0] = "nowhere"
    records[3]["img_set"]["members"].pop()
    root = write_cirr(tmp_path, records=[*records, {"pairid": 9}])
    with pytest.raises(DataError) as caught:
        CIRRDataset(root, "val", "eval")
    text = str(caught.value)
    for part in ("duplicate pairids (1): 1", "without their target", "nowhere", "six distinct", "entry 4"):
        assert part in text


def test_img_set_without_target_is_logged_for_training(tmp_path: Path) -> None:
    record = cirr_record(1, 0, 0, 1) | {"target_hard": "dev-1-0"}
    dataset = CIRRDataset(write_cirr(tmp_path, "train", records=[record]), "train", "train")
    assert any("without their target" in note and "(1)" in note for note in dataset.annotations.notes)


def test_truncated_json_and_duplicate_names(tmp_path: Path) -> None:
    root = write_cirr(tmp_path)
    captions = root / "cirr/captions/cap.rc2.val.json"
    captions.write_text(captions.read_text()[:-20])
    split = root / "cirr/image_splits/split.rc2.val.json"
    split.write_text(split.read_text()[:-1] + ', "dev-0-0": "./dev/dev-0-1.png"}')
    with pytest.raises(DataError, match=r"(?s)duplicate image names \(1\): dev-0-0.*truncated download"):
        CIRRDataset(root, "val", "eval")


def test_missing_and_corrupt_images_are_named(tmp_path: Path) -> None:
    root = write_cirr(tmp_path)
    for name in ("dev-0-0", "dev-1-5"):
        path = root / f"dev/{name}.png"
        path.write_bytes(path.read_bytes()[:60])
    dataset = CIRRDataset(root, "val", "eval", TRANSFORM)
    with pytest.raises(DataError, match=r"(?s)cannot be read \(2\).*dev-0-0.png.*dev-1-5.png"):
        dataset[list(range(12))]
    for i in range(6):
        (root / f"dev/dev-0-{i}.png").unlink()
    with pytest.raises(DataError, match=r"missing image files .*\(6\)"):
        CIRRDataset(root, "val", "eval", TRANSFORM)


def test_unusual_captions_are_kept_and_counted(tmp_path: Path) -> None:
    captions = ["", "word " * 40, "красный вместо синего", "plain"]
    records = [cirr_record(i, 0, 0, 1, text) for i, text in enumerate(captions)]
    dataset = CIRRDataset(write_cirr(tmp_path, records=records), "val", "eval", TRANSFORM)
    assert dataset[[12, 13, 14, 15]]["caption"] == captions
    assert [note.split()[0] for note in dataset.annotations.notes] == ["1", "1", "1"]


def test_wrong_choices_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'test1'"):
        CIRRDataset(tmp_path, "test", "eval")
    with pytest.raises(DataError, match="expected one of the folders"):
        CIRRDataset(tmp_path, "val", "eval")


def test_fashioniq_keeps_a_gallery_per_category(tmp_path: Path) -> None:
    dataset = FashionIQDataset(write_fashioniq(tmp_path), "val", "eval", transform=TRANSFORM)
    info = dataset.metainfo
    assert info["gallery_category"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert info["target"].tolist() == [2, 5, 8] and info["category"].tolist() == [0, 1, 2]
    assert dataset[[9]]["caption"] == ["Is longer and has no Sleeves"]


def test_fashioniq_training_captions_are_stateless(tmp_path: Path) -> None:
    dataset = FashionIQDataset(write_fashioniq(tmp_path, "train"), "train", "train", transform=TRANSFORM)
    assert dataset[[0, 1, 2]]["target_id"].tolist() == [2, 2, 2]  # one picture, three galleries

    def draw(epoch: int) -> str:
        dataset.set_epoch(epoch)
        return dataset.caption(0)

    drawn = [draw(epoch) for epoch in range(40)]
    forms = {"Is longer and has no Sleeves", "Has no sleeves and is longer", "Is longer", "Has no sleeves"}
    assert set(drawn) == forms
    assert [draw(epoch) for epoch in range(40)] == drawn


@needs(DATA)
def test_published_annotations() -> None:
    val = CIRRDataset(DATA, "val", "eval").metainfo
    assert (len(val["gallery"]), val["members"].shape) == (2297, (4181, 6))
    assert (val["members"] == val["target"][:, None]).sum() == 4181
    assert (CIRRDataset(DATA, "test1", "eval").metainfo["target"] == -1).all()
    info = FashionIQDataset(DATA / "fashioniq", "val", "eval").metainfo
    assert np.bincount(info["category"]).tolist() == [2017, 2038, 1961]
    assert np.bincount(info["gallery_category"]).tolist() == [3817, 6346, 5373]
