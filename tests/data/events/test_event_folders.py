"""Embedded event sets: determinism, and what happens to folders that are there already."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gatefuse_plugins.data.base_annotations import MARKER
from gatefuse_plugins.data.events import (
    EventSetConfig,
    make_qvhighlights_events,
    make_tvsum_events,
    store,
)
from gatefuse_plugins.errors import DataError

SMALL = EventSetConfig(num_train_videos=10, num_val_videos=5, num_test_videos=3)
REPOSITORY = Path(__file__).resolve().parents[3]


def tree_digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    listing = [f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def load_marker(root: Path) -> dict:
    return json.loads((root / MARKER).read_text())


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("events") / "qvhighlights"
    make_qvhighlights_events(root, SMALL)
    return root


def test_the_same_config_gives_the_same_bytes_in_another_process_and_another_seed_does_not(events, tmp_path):
    script = (
        "import sys; from gatefuse_plugins.data.events import *; make_qvhighlights_events(sys.argv[1], "
        "EventSetConfig(num_train_videos=10, num_val_videos=5, num_test_videos=3))"
    )
    environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "again")], env=environment, check=True)
    assert tree_digest(tmp_path / "again") == tree_digest(events)
    other = EventSetConfig(num_train_videos=10, num_val_videos=5, num_test_videos=3, seed=1)
    assert make_qvhighlights_events(tmp_path / "other", other)["digest"] != load_marker(events)["digest"]


def test_more_training_videos_leave_the_validation_split_as_it_is(events, tmp_path):
    make_qvhighlights_events(tmp_path / "more", EventSetConfig(num_train_videos=11, num_val_videos=5))
    file = "features/pann_features/event_val_00004.npy"
    assert (tmp_path / "more" / file).read_bytes() == (events / file).read_bytes()


def test_generator_version_pins_what_the_config_gives(events):
    """Fails when the generator changes: raise GENERATOR_VERSION and this digest together."""
    pinned = [events / "highlight_train_release.jsonl", events / store.OFF_TOPIC]
    pinned += sorted((events / "features").rglob("*event_train_00003.np*"))
    assert len(pinned) == 5 and store.GENERATOR_VERSION == 1
    assert hashlib.sha256(b"".join(path.read_bytes() for path in pinned)).hexdigest()[:16] == "f81df517d3a49c05"


def test_identity_says_what_it_is_not_and_a_complete_set_is_kept(events):
    calls: list[tuple[int, int]] = []
    before = (events / store.OFF_TOPIC).stat().st_mtime_ns
    identity = make_qvhighlights_events(events, SMALL, lambda done, total: calls.append((done, total)))
    assert identity == load_marker(events) and len(identity["digest"]) == 64
    assert identity["name"] == "embedded audio-visual events (not QVHighlights)"
    assert identity["embedded"] is True and identity["layout"] == "qvhighlights"
    assert (events / store.OFF_TOPIC).stat().st_mtime_ns == before and calls == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
def test_interrupted_generation_leaves_nothing_and_can_be_repeated(events, tmp_path, error):
    calls: list[tuple[int, int]] = []

    def interrupt(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 12:
            raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        make_qvhighlights_events(tmp_path / "set", SMALL, interrupt)
    assert list(tmp_path.iterdir()) == []
    assert calls == [(done, 18) for done in range(1, 13)]
    make_qvhighlights_events(tmp_path / "set", SMALL)
    assert tree_digest(tmp_path / "set") == tree_digest(events)


def test_a_set_that_another_process_finishes_first_is_taken(events, tmp_path):
    def overtaken(done: int, total: int) -> None:
        if done == total:
            make_qvhighlights_events(tmp_path / "set", SMALL)

    assert make_qvhighlights_events(tmp_path / "set", SMALL, overtaken) == load_marker(events)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_other_folders_are_left_untouched(events, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(DataError, match=r"holds notes\.txt, which is no embedded set"):
        make_qvhighlights_events(tmp_path / "mine", SMALL)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"
    with pytest.raises(DataError, match="is a file"):
        make_tvsum_events(tmp_path / "mine" / "notes.txt", SMALL)
    with pytest.raises(DataError, match="holds another embedded set.*'seed': 0"):
        make_qvhighlights_events(events, EventSetConfig(**{**load_marker(events)["config"], "seed": 7}))
    with pytest.raises(DataError, match="'layout': 'qvhighlights'"):
        make_tvsum_events(events, SMALL)


def test_changed_annotations_are_noticed(tmp_path):
    make_tvsum_events(tmp_path / "set", SMALL)
    file = tmp_path / "set" / "tvsum_val.jsonl"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DataError, match="no longer match"):
        make_tvsum_events(tmp_path / "set", SMALL)
    (tmp_path / "set" / store.OFF_TOPIC).unlink()
    with pytest.raises(DataError, match="missing from the embedded set"):
        make_tvsum_events(tmp_path / "set", SMALL)
