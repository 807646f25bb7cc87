"""The index on disk: what comes back, what is refused, and what survives a failure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from galleries import header, toy_index, toy_vectors

from gatefuse_plugins.errors import CheckpointError, DataError
from gatefuse_plugins.files import file_digest
from gatefuse_plugins.retrieval import GalleryIndex, GalleryVectors, check_target, write_index, writing


def test_padding_is_left_out_and_put_back() -> None:
    vectors = torch.arange(1.0, 13.0).reshape(2, 3, 2)
    mask = torch.tensor([[True, False, True], [False, True, False]])
    found = GalleryVectors.from_padded(vectors, mask, torch.tensor([[5.0, 6.0], [7.0, 8.0]]))
    assert found.vectors.tolist() == [[1, 2], [5, 6], [9, 10]] and found.offsets.tolist() == [0, 2, 3]
    padded, valid, pooled = found.padded(np.array([1, 0]))
    assert padded.tolist() == [[[9, 10], [0, 0]], [[1, 2], [5, 6]]]
    assert valid.tolist() == [[True, False], [True, True]] and pooled.tolist() == [[7, 8], [5, 6]]


def test_vectors_that_are_not_finite_are_named() -> None:
    good = toy_vectors()
    broken = good.vectors.copy()
    broken[good.offsets[3] + 0, 1] = np.nan
    broken[good.offsets[9] - 1, 0] = np.inf
    with pytest.raises(DataError, match="gallery items 3, 8 hold NaN or infinity"):
        GalleryVectors(broken, good.offsets).astype("float32")
    assert good.astype("float16").vectors.dtype == np.float16


def test_round_trip_is_memory_mapped(tmp_path: Path) -> None:
    index, vectors = toy_index(tmp_path / "a" / "index"), toy_vectors()
    assert isinstance(index.vectors.vectors, np.memmap) and isinstance(index.vectors.pooled, np.memmap)
    np.testing.assert_array_equal(index.vectors.vectors, vectors.vectors)
    np.testing.assert_array_equal(index.vectors.offsets, vectors.offsets)
    np.testing.assert_array_equal(index.vectors.pooled, vectors.pooled)
    assert index.names[29] == "item29" and index.header["arrays"]["vectors"]["shape"] == list(vectors.vectors.shape)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["index"]


def test_an_index_is_replaced_by_force_alone(tmp_path: Path) -> None:
    toy_index(tmp_path / "index")
    vectors = toy_vectors(seed=1, count=8)
    with pytest.raises(DataError, match="--force replaces it"):
        check_target(tmp_path / "index")
    with pytest.raises(DataError, match="--force"):
        write_index(tmp_path / "index", header(), list("abcdefgh"), [None] * 8, vectors)
    assert len(GalleryIndex.open(tmp_path / "index").names) == 30
    write_index(tmp_path / "index", header(), list("abcdefgh"), [None] * 8, vectors, force=True)
    assert GalleryIndex.open(tmp_path / "index").names == list("abcdefgh")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_link_to_an_index_stays_a_link(tmp_path: Path) -> None:
    toy_index(tmp_path / "disk" / "index")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "index")
    (tmp_path / "dangling").symlink_to(tmp_path / "disk" / "new")
    with pytest.raises(DataError, match="--force replaces it"):
        check_target(tmp_path / "link")
    for name, target in (("link", "index"), ("dangling", "new")):
        written = write_index(
            tmp_path / name, header(), list("abcdefgh"), [None] * 8, toy_vectors(1, 8), force=name == "link"
        )
        assert written == tmp_path / "disk" / target and (tmp_path / name).is_symlink()
        assert GalleryIndex.open(tmp_path / name).names == list("abcdefgh")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "disk", "link"]
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["index", "new"]


def test_what_is_no_index_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="it is no index and is kept"):
        check_target(tmp_path / "thesis", force=True)
    with pytest.raises(DataError, match="is a file"):
        check_target(tmp_path / "file", force=True)
    with pytest.raises(DataError, match="no folder to write in"):
        check_target(tmp_path / "file" / "below")
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty")
    check_target(tmp_path / "new" / "deeper")


@pytest.mark.parametrize("failing", ["save", "rename"])
def test_a_failed_write_keeps_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    toy_index(tmp_path / "index")
    before = {path.name: file_digest(path) for path in (tmp_path / "index").iterdir()}

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    replace = writing.os.replace
    if failing == "save":
        monkeypatch.setattr(writing.np, "save", no_space)
    else:  # the second of the two renames that put the new index in place of the old one
        monkeypatch.setattr(
            writing.os,
            "replace",
            lambda a, b: no_space() if str(a).endswith(".tmp") and Path(a).is_dir() else replace(a, b),
        )
    with pytest.raises(DataError, match="No space left on device"):
        write_index(tmp_path / "index", header(), list("abcdefgh"), [None] * 8, toy_vectors(1, 8), force=True)
    monkeypatch.undo()
    assert {path.name: file_digest(path) for path in (tmp_path / "index").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def _truncate(folder: Path) -> None:
    path = folder / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-20])


def _empty(folder: Path) -> None:
    (folder / "vectors.npy").write_bytes(b"")


def _remove(folder: Path) -> None:
    (folder / "pooled.npy").unlink()


def _swap(folder: Path) -> None:
    np.save(folder / "vectors.npy", toy_vectors(1, 8).vectors)


def _format(folder: Path) -> None:
    content = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(content | {"format": 99}))


def _names(folder: Path) -> None:
    content = json.loads((folder / "items.json").read_text())
    content["names"].reverse()
    (folder / "items.json").write_text(json.dumps(content))


def _offsets(folder: Path) -> None:
    offsets = np.load(folder / "offsets.npy")
    offsets[4] = offsets[3]
    np.save(folder / "offsets.npy", offsets)


def _header(folder: Path) -> None:
    (folder / "index.json").write_text('{"format": 1, "ki')


@pytest.mark.parametrize(
    "damage, message",
    [
        (_truncate, r"vectors\.npy: cannot be read .*truncated"),
        (_empty, r"vectors\.npy: cannot be read"),
        (_remove, r"pooled\.npy: cannot be read"),
        (_swap, r"vectors\.npy: float32 of shape .* expected float32 of shape"),
        (_format, "is format 99, expected format 2"),
        (_names, r"items\.json: SHA-256 is .* put the file back, or make the index again"),
        (_offsets, r"offsets\.npy: SHA-256 is"),
        (_header, r"index\.json: not valid JSON"),
    ],
)
def test_damaged_indices(tmp_path: Path, damage, message: str) -> None:
    toy_index(tmp_path / "index")
    damage(tmp_path / "index")
    with pytest.raises(DataError, match=message):
        GalleryIndex.open(tmp_path / "index")


@pytest.mark.parametrize("name", ["vectors.npy", "offsets.npy", "pooled.npy", "items.json"])
def test_a_file_of_another_index_is_named(tmp_path: Path, name: str) -> None:
    vectors, other = toy_vectors(seed=0, equal=True), toy_vectors(seed=1, equal=True)
    offsets = np.concatenate([[0, 2], other.offsets[2:]])  # as many items and vectors
    other = GalleryVectors(other.vectors, offsets, other.pooled)
    for folder, content in (("mine", vectors), ("other", other)):
        names = [f"{folder}{row}" for row in range(30)]
        write_index(tmp_path / folder, header(), names, [None] * 30, content)
    shutil.copy(tmp_path / "other" / name, tmp_path / "mine" / name)
    with pytest.raises(DataError, match=rf"mine/{name}: SHA-256 is .* of another index"):
        GalleryIndex.open(tmp_path / "mine")


PICTURES = {"kind": "image", "transform": [], "token_dtype": None}


@pytest.mark.parametrize(
    "file, changes, message",
    [
        ("index.json", None, "the header is None, expected an object with format, kind"),
        ("index.json", {"arrays": []}, r"arrays of the header is \[\], expected an object"),
        ("index.json", {"dataset": "msrvtt"}, "dataset of the header is 'msrvtt', expected an object"),
        ("index.json", {"kind": "vidoe"}, "kind 'vidoe' is unknown.*video"),
        ("index.json", {"dataset": {"name": "toy"}}, "dataset lacks split"),
        ("index.json", {"kind": "image"}, "the header lacks transform"),
        ("index.json", PICTURES | {"token_dtype": 16}, "is 16, expected a string or null"),
        ("index.json", PICTURES, r"names arrays .*'pooled'.*, expected \['offsets', 'vectors'\] of images"),
        ("index.json", {"checkpoint_sha256": 1}, "checkpoint_sha256 of the header is 1, expected a string"),
        ("items.json", None, "the file is None, expected an object with names, paths"),
        ("items.json", {"names": 5}, "names of the file is 5, expected a list"),
        ("items.json", {"names": [5]}, "expected names that are strings"),
    ],
)
def test_entries_of_another_type(tmp_path: Path, file: str, changes: dict | None, message: str) -> None:
    toy_index(tmp_path / "index")
    path = tmp_path / "index" / file
    path.write_text(json.dumps(None if changes is None else json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=message):
        GalleryIndex.open(tmp_path / "index")


@pytest.mark.parametrize("name", ["pooled", "vectors"])
def test_arrays_without_an_entry(tmp_path: Path, name: str) -> None:
    toy_index(tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    content = json.loads(path.read_text())
    del content["arrays"][name]["shape"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"arrays\.{name} lacks shape; make the index again"):
        GalleryIndex.open(tmp_path / "index")
    del content["arrays"][name]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"names arrays .*, expected \['offsets', 'pooled', 'vectors'\] of videos"):
        GalleryIndex.open(tmp_path / "index")


def test_files_that_contradict_each_other(tmp_path: Path) -> None:
    write_index(tmp_path / "index", header(), list("abcdefg"), [None] * 8, toy_vectors(count=8))
    with pytest.raises(DataError, match="7 names, 8 paths, 8 items by offsets"):
        GalleryIndex.open(tmp_path / "index")


def test_a_model_of_another_version(tmp_path: Path) -> None:
    vectors = toy_vectors(count=8)
    for model, message in (
        ({"type": "AVIGATE", "tempo": 3}, r"index\.json: the model cannot be built.*\n.*no parameter 'tempo'"),
        ({"type": "AVIGATX"}, "(?s)the model cannot be built.*AVIGATX.*AVIGATE"),
    ):
        write_index(tmp_path / "index", header(model=model), list("abcdefgh"), [None] * 8, vectors, force=True)
        with pytest.raises(DataError, match=message):
            GalleryIndex.open(tmp_path / "index").model_config()


def test_no_index_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no gallery index .*index_gallery\.py"):
        GalleryIndex.open(tmp_path)


def test_the_checkpoint_must_be_the_one_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"weights")
    (tmp_path / "b.pth").write_bytes(b"weightz")
    digest = file_digest(tmp_path / "a.pth")
    vectors = toy_vectors(count=8)
    write_index(tmp_path / "index", header(checkpoint_sha256=digest), list("abcdefgh"), [None] * 8, vectors)
    index = GalleryIndex.open(tmp_path / "index")
    index.check_checkpoint(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=f"was encoded with a checkpoint of {digest[:12]}"):
        index.check_checkpoint(tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="--checkpoint PATH"):
        index.check_checkpoint(tmp_path / "gone.pth")
