"""Equality with the numbers that the upstream evaluation code gave (1e-6 relative: it divides in float32)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import DATA, FOLDER, needs

from gatefuse_plugins.evaluation.composed import cirr_metrics, fashioniq_metrics
from gatefuse_plugins.evaluation.video import msrvtt_metrics

pytestmark = [needs(FOLDER), needs(DATA)]


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def seeded(seed: int, target: np.ndarray, gallery: int, bonus: float) -> np.ndarray:
    similarity = np.random.default_rng(seed).standard_normal((len(target), gallery)).astype(np.float32)
    similarity[np.arange(len(target)), target] += bonus
    return similarity


def test_cirr():
    oracle = load(FOLDER / "cirr_metrics.json")
    entries = load(DATA / "cirr/captions/cap.rc2.val.json")
    column = {name: number for number, name in enumerate(load(DATA / "cirr/image_splits/split.rc2.val.json"))}
    target = np.array([column[entry["target_hard"]] for entry in entries])
    reference = np.array([column[entry["reference"]] for entry in entries])
    members = np.array([[column[name] for name in entry["img_set"]["members"]] for entry in entries])
    metrics = cirr_metrics(seeded(oracle["seed"], target, len(column), oracle["bonus"]), reference, target, members)
    expected = oracle["metrics"]
    expected["mean"] = expected.pop("mean(R@5+R_s@1)")
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_fashioniq():
    oracle = load(FOLDER / "fashioniq_metrics.json")
    names = ("dress", "shirt", "toptee")
    blocks, targets, sizes = [], [], []
    for name in names:
        gallery = load(DATA / f"fashioniq/image_splits/split.{name}.val.json")
        column = {image: number for number, image in enumerate(gallery)}
        entries = load(DATA / f"fashioniq/captions/cap.{name}.val.json")
        target = np.array([column[entry["target"]] for entry in entries])
        blocks.append(seeded(oracle["metrics"][name]["seed"], target, len(gallery), oracle["bonus"]))
        targets.append(target + sum(sizes))
        sizes.append(len(gallery))
    # Foreign categories score higher than anything: they must not count.
    joined = np.full((sum(map(len, targets)), sum(sizes)), 99, np.float32)
    row = 0
    for number, block in enumerate(blocks):
        left = sum(sizes[:number])
        joined[row : row + len(block), left : left + sizes[number]] = block
        row += len(block)
    category, gallery_category = np.repeat(range(3), [len(t) for t in targets]), np.repeat(range(3), sizes)
    metrics = fashioniq_metrics(joined, np.concatenate(targets), category, gallery_category, names)
    for k in (10, 50):
        for name in names:
            assert metrics[f"{name}_R@{k}"] == pytest.approx(oracle["metrics"][name][f"R@{k}"], rel=1e-6)
        assert metrics[f"R@{k}"] == pytest.approx(oracle["metrics"]["average"][f"R@{k}"], rel=1e-6)


def test_msrvtt():
    oracle = load(FOLDER / "msrvtt_metrics.json")
    pairs = oracle["shape"][0]
    metrics = msrvtt_metrics(seeded(oracle["seed"], np.arange(pairs), pairs, oracle["bonus"]))
    for direction in ("text_to_video", "video_to_text"):
        assert metrics[direction] == pytest.approx(oracle[direction], rel=1e-6)
