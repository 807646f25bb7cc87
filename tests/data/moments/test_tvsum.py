from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moment_sets import write_tvsum
from oracles import DATA

from gatefuse_plugins.data import TVSumDataset
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.records import TVSUM_DOMAINS, read_tvsum
from gatefuse_plugins.errors import ConfigError, DataError


def record(vid: str, domain: str, num_clips: int = 6, **changes: Any) -> dict[str, Any]:
    label = [[1.0 + clip % 5] * 20 for clip in range(num_clips)]
    found = {"qid": vid, "query": "title", "vid": vid, "duration": num_clips, "domain": domain, "label": label}
    return found | changes


def test_batch_of_one_domain(tmp_path: Path) -> None:
    write_tvsum(tmp_path, [record("a", "BK"), record("b", "VU"), record("c", "BK", 9)])
    data = TVSumDataset(tmp_path, domain="BK", audio_features="auto")
    assert len(data) == 2 and [r["vid"] for r in data.metainfo["annotations"]] == ["a", "c"]
    assert len(TVSumDataset(tmp_path)) == 3
    batch = data[[0, 1]]
    folder = tmp_path / "features/tvsum"
    both = [np.load(folder / f"video_features/c_{part}.npy").astype(np.float32) for part in ("rgb", "opt")]
    rows = np.concatenate(both, axis=1)
    expected = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-5)  # of both parts together
    np.testing.assert_allclose(batch["video"][1, :, :8], expected, rtol=1e-6)
    tokens = np.load(folder / "query_features/c.npz")["token"][0]
    assert np.array_equal(batch["text"][1], tokens)  # as they are
    assert batch["video"].shape == (2, 9, 10) and batch["audio"].shape == (2, 9, 7)
    assert batch["video_mask"].sum(1).tolist() == [6, 9] and "spans" not in batch
    scores = torch.tensor([0.0, 1, 2, 3, 4, 0, 0, 0, 0]) * 20 / 80 * 12
    torch.testing.assert_close(batch["saliency_labels"][0], scores)
    assert batch["saliency_pos"].tolist() == [[4, 4], [4, 4]] and batch["saliency_neg"].tolist() == [[0, 0], [0, 0]]


def test_faults(tmp_path: Path) -> None:
    lines = [record("a", "XX"), record("b", "BK", label=[[1, 2], [3]]), record("c", "BK", label=[[0.0] * 20])]
    write_tvsum(tmp_path, lines)
    with pytest.raises(DataError) as error:
        TVSumDataset(tmp_path)
    for part in ("line 1 ('XX')", "no matrix of numbers", "outside 1..5 (1): line 3"):
        assert part in str(error.value)
    with pytest.raises(ConfigError, match="expected one of BK"):
        TVSumDataset(tmp_path, domain="XX")


def test_labels_and_features_must_agree(tmp_path: Path) -> None:
    write_tvsum(tmp_path, [record("a", "BK", 9)])
    np.save(tmp_path / "features/tvsum/video_features/a_rgb.npy", np.ones((4, 4)))
    with pytest.raises(DataError, match="a .*: 4 clips, stated 9"):
        TVSumDataset(tmp_path)[0]


@pytest.mark.parametrize(("split", "count"), [("train", 40), ("val", 10)])
def test_real_labels(split: str, count: int) -> None:
    path = DATA / "tvsum" / f"tvsum_{split}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    faults = Faults()
    found = read_tvsum(path, faults)
    assert not faults and len(found.records) == count
    domains = [r["domain"] for r in found.records]
    assert set(domains) == set(TVSUM_DOMAINS) and domains.count("BK") == count // 10
    assert all(len(r["label"]) == r["duration"] for r in found.records)
