from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moment_sets import moment_record, write_lines, write_qvhighlights
from oracles import DATA
from torch.utils.data import DataLoader

from gatefuse_plugins.data import QVHighlightsDataset, identity_collate
from gatefuse_plugins.errors import ConfigError, DataError


def dataset(root: Path, **options: Any) -> QVHighlightsDataset:
    return QVHighlightsDataset(root, **({"audio_features": "auto"} | options))


def reference(root: Path, record: dict[str, Any], max_v_l: int = 75) -> dict[str, np.ndarray]:
    """The loading rule spelt out with plain numpy, one sample at a time."""

    def normalised(rows: np.ndarray, length: int) -> np.ndarray:
        rows = rows[:length].astype(np.float32)
        return rows / (np.sqrt((rows * rows).sum(-1, keepdims=True)) + np.float32(1e-5))

    folder, vid = root / "features", record["vid"]
    sources = [normalised(np.load(folder / name / f"{vid}.npz")["features"], max_v_l) for name in
               ("slowfast_features", "clip_features")]  # fmt: skip
    audio = normalised(np.load(folder / "pann_features" / f"{vid}.npy"), max_v_l)
    count = min(len(audio), *map(len, sources))
    ends = np.stack([np.arange(count) / count, np.arange(1, count + 1) / count], axis=1)
    text = np.load(folder / "clip_text_features" / f"qid{record['qid']}.npz")["last_hidden_state"]
    return {
        "video": np.concatenate([*(source[:count] for source in sources), ends], axis=1),
        "audio": np.concatenate([audio[:count], ends], axis=1),
        "text": normalised(text, 32),
    }


@pytest.mark.parametrize("max_v_l", [75, 9])
def test_batches_follow_the_loading_rule(tmp_path: Path, max_v_l: int) -> None:
    records = write_qvhighlights(tmp_path, rows={"clip_features": 10, "pann_features": 9})
    batch = dataset(tmp_path, max_v_l=max_v_l, clip_tolerance=3)[[2, 1, 0]]
    for place, row in enumerate((2, 1, 0)):
        for name, expected in reference(tmp_path, records[row], max_v_l).items():
            found, mask = batch[name][place], batch[f"{name}_mask"][place]
            assert mask.tolist() == [True] * len(expected) + [False] * (len(found) - len(expected))
            np.testing.assert_allclose(found[mask], expected, rtol=1e-6, atol=1e-7)
            assert not found[~mask].any()
    assert batch["video"].shape == (3, 9, 12) and batch["audio"].shape == (3, 9, 7)
    assert batch["video"].dtype == batch["audio"].dtype == batch["text"].dtype == torch.float32
    assert batch["duration"].tolist() == [20.0, 24.0, 20.0] and batch["sample_index"].tolist() == [2, 1, 0]


def test_batch_equals_its_samples_alone_and_pads_with_zeros(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    data = dataset(tmp_path, role="eval")
    together, alone = data[[0, 1]], data[0]
    assert together["video_mask"].sum(1).tolist() == [10, 12]
    torch.testing.assert_close(together["video"][0, :10], alone["video"][0], rtol=0, atol=0)
    assert not together["video"][0, 10:].any() and not together["audio"][0, 10:].any()
    assert data.widths == {"video": 12, "text": 3, "audio": 7}


def test_labels(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    batch = dataset(tmp_path)[[0, 1]]
    expected = torch.tensor([[7 / 20, 6 / 20], [15 / 20, 2 / 20]])
    torch.testing.assert_close(batch["spans"][0], expected)
    torch.testing.assert_close(batch["spans"][1], expected * 20 / 24)
    assert batch["saliency_labels"].shape == (2, 12)
    assert batch["saliency_labels"][0].tolist() == [0, 0, 6, 12, 2, 0, 0, 6, 0, 0, 0, 0]
    assert batch["saliency_pos"][:, 0].tolist() == [3, 3] and batch["saliency_neg"][:, 0].tolist() == [4, 4]
    assert all(clip in (2, 3, 4, 7) for clip in batch["saliency_pos"][:, 1])
    assert all(clip not in (2, 3, 4, 7) for clip in batch["saliency_neg"][:, 1])
    assert "spans" not in dataset(tmp_path, role="eval")[[0]]


def test_random_choices_depend_on_torchs_seed_alone(tmp_path: Path) -> None:
    windows = [[2 * start, 2 * start + 1] for start in range(10)]
    write_qvhighlights(tmp_path, [moment_record(1, "a", relevant_windows=windows)])
    data = dataset(tmp_path, text_drop_ratio=0.5)

    def draw(seed: int) -> dict[str, Any]:
        torch.manual_seed(seed)
        return data[0]

    first, again, other = draw(0), draw(0), draw(1)
    assert torch.equal(first["spans"][0], again["spans"][0]) and torch.equal(first["text"], again["text"])
    assert not torch.equal(first["spans"][0], other["spans"][0])
    assert len(first["spans"][0]) == 5 and len(first["spans"][0].unique(dim=0)) == 5
    assert int((first["text"][0] == 0).all(-1).sum()) == round(len(first["text"][0]) * 0.5)
    assert data.metainfo["annotations"][0]["relevant_windows"] == windows


def test_subtitles_label_by_their_window(tmp_path: Path) -> None:
    lines = [
        {"qid": "s1", "query": "words", "vid": "a", "duration": 20, "relevant_windows": [[4, 9]]},
        {"qid": "s2", "query": "all of it", "vid": "a", "duration": 20, "relevant_windows": [[0, 20]]},
    ]
    write_qvhighlights(tmp_path)
    write_lines(tmp_path / "subs_train.jsonl", lines)
    folder = tmp_path / "features/clip_sub_features"
    folder.mkdir()
    for line in lines:
        np.savez(folder / f"qid{line['qid']}.npz", last_hidden_state=np.ones((2, 3), np.float32))
    batch = dataset(tmp_path, split="subs_train")[[0, 1]]
    assert batch["saliency_labels"][0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert sorted(batch["saliency_pos"][0].tolist()) == [2, 3]
    assert len({*batch["saliency_neg"][0].tolist()} - {2, 3}) == 2
    assert torch.equal(batch["saliency_pos"][1], batch["saliency_neg"][1])  # no other clip: no gradient


def test_unequal_audio_is_cut_or_resampled(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path, rows={"pann_features": 5})
    with pytest.raises(DataError, match="contradict the annotation"):
        dataset(tmp_path)[0]
    batch = dataset(tmp_path, clip_tolerance=5)[0]
    assert batch["video"].shape[1] == batch["audio"].shape[1] == 5
    raw = np.load(tmp_path / "features/pann_features/a.npy")
    batch = dataset(tmp_path, audio_alignment="resample", normalize_v=False)[0]
    places = np.clip((np.arange(10) + 0.5) / 2 - 0.5, 0, 4)
    expected = np.stack([np.interp(places, np.arange(5), column) for column in raw.T], axis=1)
    np.testing.assert_allclose(batch["audio"][0, :, :5], expected, rtol=1e-5, atol=1e-6)
    batch = dataset(tmp_path, audio_alignment="resample")[0]
    torch.testing.assert_close(batch["audio"][0, :, :5].norm(dim=-1), torch.ones(10), rtol=1e-4, atol=1e-4)


def test_missing_audio_is_an_error_or_an_empty_mask(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    (tmp_path / "features/pann_features/b.npy").unlink()
    with pytest.raises(DataError, match=r"missing_audio='no_audio' allows it \(1\): b"):
        dataset(tmp_path)
    batch = dataset(tmp_path, missing_audio="no_audio")[[0, 1]]
    assert batch["audio_mask"].sum(1).tolist() == [10, 0] and batch["video_mask"].sum(1).tolist() == [10, 12]
    assert not batch["audio"][1].any() and batch["audio"][0, :10, :5].all()
    alone = dataset(tmp_path, missing_audio="no_audio")[1]
    assert alone["audio"].shape == (1, 12, 7) and not alone["audio_mask"].any()
    assert "audio" not in dataset(tmp_path, audio_features=None)[0]


def test_folders_in_circulation_and_ambiguity(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path / "umt", prefix="umt_")
    assert dataset(tmp_path / "umt").widths["video"] == 12
    write_qvhighlights(tmp_path / "umt")
    with pytest.raises(DataError, match="ambiguous video feature folders") as error:
        dataset(tmp_path / "umt")
    assert "umt_clip_features" in str(error.value) and "ambiguous audio" in str(error.value)
    chosen = dataset(
        tmp_path / "umt",
        video_features=["clip_features"],
        text_features="umt_clip_text_features",
        audio_features=tmp_path / "umt/features/pann_features",
    )
    assert chosen.widths == {"video": 6, "text": 3, "audio": 7}
    with pytest.raises(DataError, match=r"clip_featurs \(there are: .*clip_features"):
        dataset(tmp_path / "umt", video_features="clip_featurs")
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        dataset(tmp_path / "umt", split="trian")


def test_data_ratio_identity_and_unlabelled_test(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    data = dataset(tmp_path, data_ratio=0.67)
    assert len(data) == 2 and len(data.metainfo["annotations"]) == 2
    identity = data.metainfo["identity"]
    assert (identity["name"], identity["split"], identity["embedded"]) == ("QVHighlights", "train", False)
    bare = [{key: r[key] for key in ("qid", "query", "vid", "duration")} for r in data.metainfo["annotations"]]
    write_lines(tmp_path / "highlight_test_release.jsonl", bare)
    assert "spans" not in dataset(tmp_path, split="test", role="eval")[0]
    with pytest.raises(DataError, match="no labels"):
        dataset(tmp_path, split="test", role="train")


def test_a_gatefuse_marker_names_the_set_embedded(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    (tmp_path / "gatefuse_dataset.json").write_text('{"name": "events", "digest": "d", "embedded": true}')
    expected = {"name": "events", "digest": "d", "embedded": True, "split": "train"}
    assert dataset(tmp_path).metainfo["identity"] == expected


def test_workers_give_the_same_batches(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    data = dataset(tmp_path, role="eval")
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=identity_collate)
    batches = list(loader)
    assert [batch["sample_index"].tolist() for batch in batches] == [[0, 1], [2]]
    assert torch.equal(batches[0]["video"], data[[0, 1]]["video"])


@pytest.mark.parametrize("split", ["val_release", "test_with_gt", "train_head600"])
def test_real_annotations_are_read_without_fault(tmp_path: Path, split: str) -> None:
    path = DATA / "qvhighlights" / f"highlight_{split}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    from gatefuse_plugins.data.base_faults import Faults
    from gatefuse_plugins.data.moments.records import read_qvhighlights

    faults = Faults()
    found = read_qvhighlights(path, 2.0, faults)
    assert not faults and not found.notes and found.labelled
    assert len(found.records) == {"val_release": 1550, "test_with_gt": 1542, "train_head600": 600}[split]


def test_equals_upstream(tmp_path: Path) -> None:
    """Against a QD-DETR checkout at $GATEFUSE_QD_DETR (with the ``utils`` package that it imports)."""
    checkout = os.environ.get("GATEFUSE_QD_DETR")
    if not checkout:
        pytest.skip("GATEFUSE_QD_DETR names no QD-DETR checkout")
    if not (Path(checkout) / "utils/basic_utils.py").is_file():
        pytest.skip(f"{checkout} lacks utils/, which its data set imports")
    sys.path.insert(0, checkout)
    try:
        spec = importlib.util.spec_from_file_location(
            "upstream_dataset", Path(checkout) / "qd_detr/start_end_dataset_audio.py"
        )
        upstream = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(upstream)
    finally:
        sys.path.remove(checkout)
    write_qvhighlights(tmp_path, rows={"clip_features": 10, "pann_features": 9})
    folder = tmp_path / "features"
    theirs = upstream.StartEndDataset_audio(
        "hl",
        str(tmp_path / "highlight_train_release.jsonl"),
        [str(folder / "slowfast_features"), str(folder / "clip_features")],
        str(folder / "clip_text_features"),
        str(folder / "pann_features"),
        ctx_mode="video_tef",
    )
    _, expected = upstream.start_end_collate_audio([theirs[0], theirs[1], theirs[2]])
    found = dataset(tmp_path, clip_tolerance=3)[[0, 1, 2]]
    for ours, other in (("video", "video_feat"), ("audio", "audio_feat"), ("text", "query_feat")):
        assert torch.equal(found[ours], expected[other][0])
        assert torch.equal(found[f"{ours}_mask"], expected[other][1].bool())
    assert torch.equal(found["saliency_labels"], expected["saliency_all_labels"])
    for spans, other in zip(found["spans"], expected["span_labels"], strict=True):
        assert torch.equal(spans, other["spans"])
    for name in ("pos", "neg"):  # the second of each is random
        assert torch.equal(found[f"saliency_{name}"][:, 0], expected[f"saliency_{name}_labels"][:, 0])
