from __future__ import annotations

import json
import re

import numpy as np
import pytest

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation import submission, validation
from gatefuse_plugins.evaluation.submission import write_submission
from gatefuse_plugins.evaluation.validation import validate_submission


@pytest.fixture
def files(small, tmp_path):
    return write_submission(
        tmp_path,
        small.similarity,
        pairid=small.pairid,
        gallery=small.gallery,
        reference=small.reference,
        members=small.members,
    )


def test_lists_are_sorted_and_leave_the_reference_out(small, files):
    recall, subset = (json.loads(path.read_text()) for path in files)
    assert (recall["version"], recall["metric"], subset["metric"]) == ("rc2", "recall", "recall_subset")
    assert recall["12"][:3] == ["img2", "img1", "img7"] and len(recall["12"]) == 7 and "img0" not in recall["12"]
    assert subset["12"] == ["img2", "img1", "img3"] and subset["34"] == ["img3", "img7", "img6"]
    assert [validate_submission(path, small.annotations(), small.gallery) for path in files] == [[], []]


def test_top_50_of_a_larger_gallery_equals_a_full_sort(tmp_path):
    generator = np.random.default_rng(0)
    similarity, reference = generator.standard_normal((300, 90)), generator.integers(0, 90, 300)
    members = (reference[:, None] + np.arange(6)) % 90
    names = [f"n{number}" for number in range(90)]
    recall, _ = write_submission(
        tmp_path, similarity, pairid=range(300), gallery=names, reference=reference, members=members
    )
    written = json.loads(recall.read_text())
    for query in range(300):
        order = [names[g] for g in np.argsort(-similarity[query]) if g != reference[query]]
        assert written[str(query)] == order[:50]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(version="rc1"), "version is 'rc1', expected 'rc2'"),
        (lambda s: s.update(metric="recal_subset"), "did you mean 'recall_subset'"),
        (lambda s: s.pop("12"), "1 of 2 pairs are missing .first: 12."),
        (lambda s: s.update({"99": ["img1"]}), "1 pairs are not of this split .first: 99."),
        (lambda s: s["12"].pop(), "pair 12: lists 2 names, expected 3"),
        (lambda s: s["12"].__setitem__(0, "img1"), "pair 12: lists 1 names twice"),
        (lambda s: s["12"].__setitem__(0, "img0"), "pair 12: lists its own reference img0"),
        (lambda s: s["12"].__setitem__(0, "img7"), "pair 12: img7 is not in its image set"),
        (lambda s: s.update({"12": "img1"}), "pair 12: expected a list of image names"),
    ],
)
def test_each_fault_is_found(small, files, tmp_path, change, message):
    content = json.loads(files[1].read_text())
    change(content)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    faults = validate_submission(path, small.annotations())
    assert len(faults) == 1
    assert re.search(message, faults[0])


def test_repeated_keys_and_size_are_found(small, files, monkeypatch):
    text = files[1].read_text()
    files[1].write_text(text[:-1] + ',"12":["img1","img2","img3"]}')
    monkeypatch.setattr(validation, "MAX_BYTES", 50)
    faults = validate_submission(files[1], small.annotations())
    assert len(faults) == 2 and "more than once (first: ['12'])" in faults[0] and "at most 50" in faults[1]


def test_a_failed_write_keeps_the_old_file(small, files, monkeypatch):
    before = files[0].read_text()
    monkeypatch.setattr(submission.json, "dumps", lambda *_, **__: "\ud800")  # cannot be encoded: fails while writing
    with pytest.raises(UnicodeEncodeError):
        write_submission(
            files[0].parent,
            small.similarity,
            pairid=small.pairid,
            gallery=small.gallery,
            reference=small.reference,
            members=small.members,
        )
    assert files[0].read_text() == before and sorted(files[0].parent.iterdir()) == sorted(files)


def test_repeated_pair_ids_are_refused(small, tmp_path):
    with pytest.raises(DataError, match="1 distinct ids for 2 queries"):
        write_submission(
            tmp_path,
            small.similarity,
            pairid=[5, 5],
            gallery=small.gallery,
            reference=small.reference,
            members=small.members,
        )
