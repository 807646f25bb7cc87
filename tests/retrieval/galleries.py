"""Hand-made indices, and the tools run inside this process."""

from __future__ import annotations

import runpy
import sys
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gatefuse_plugins.hosts.avigate import build_avigate
from gatefuse_plugins.retrieval import GalleryIndex, GalleryVectors, write_index

ROOT = Path(__file__).resolve().parents[2]
DIM = 4


def header(kind: str = "video", **changes: object) -> dict:
    identity = {"name": "toy", "split": "test", "digest": "0", "embedded": True}
    stated = {"kind": kind, "dataset": identity, "checkpoint": "c.pth", "checkpoint_sha256": "ab" * 32, "model": {}}
    if kind == "image":
        stated |= {"transform": [], "token_dtype": None}
    return stated | changes


def toy_vectors(seed: int = 0, count: int = 30, dim: int = DIM, equal: bool = False) -> GalleryVectors:
    """Unit vectors, one to four an item (three each where ``equal``); item 7 repeats item 2."""
    rng = np.random.default_rng(seed)
    lengths = np.full(count, 3) if equal else rng.integers(1, 5, count)
    lengths[7] = lengths[2]
    offsets = np.concatenate([[0], lengths.cumsum()])
    vectors = rng.standard_normal((offsets[-1], dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[offsets[7] : offsets[8]] = vectors[offsets[2] : offsets[3]]
    pooled = np.stack([vectors[a:b].mean(axis=0) for a, b in pairwise(offsets)])
    return GalleryVectors(vectors, offsets, pooled / np.linalg.norm(pooled, axis=1, keepdims=True))


def toy_index(folder: Path, kind: str = "video", **options: object) -> GalleryIndex:
    vectors = toy_vectors(equal=kind == "image", **options)
    if kind == "image":
        vectors = GalleryVectors(vectors.vectors, vectors.offsets)
    names = [f"item{row}" for row in range(len(vectors))]
    return GalleryIndex.open(write_index(folder, header(kind), names, [None] * len(names), vectors))


def toy_host(**options: object) -> nn.Module:
    """A video host of width ``DIM``; the similarity needs nothing of it but scale and temperature."""
    torch.manual_seed(0)
    sizes = {"width": DIM, "num_heads": 2, "num_query_tokens": 2, "resampler_layers": 1, "fusion_layers": 1}
    return build_avigate(**sizes, max_frames=4, **options).eval()


def toy_query(seed: int = 5) -> torch.Tensor:
    query = torch.randn(1, DIM, generator=torch.Generator().manual_seed(seed))
    return query / query.norm()


def fake_faiss() -> types.ModuleType:
    """faiss's flat inner-product index, by a full sort."""

    class IndexFlatIP:
        def __init__(self, dim: int) -> None:
            self.rows = np.empty((0, dim), np.float32)

        def add(self, rows: np.ndarray) -> None:
            assert rows.dtype == np.float32 and rows.flags.c_contiguous
            self.rows = np.concatenate([self.rows, rows])

        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            scores = queries @ self.rows.T
            order = np.argsort(-scores, axis=1)[:, :k]
            return np.take_along_axis(scores, order, axis=1), order

    module = types.ModuleType("faiss")
    module.IndexFlatIP = IndexFlatIP
    return module


def run_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, *arguments: str
) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of ``tools/NAME.py``, run in this process (imports cost seconds)."""
    monkeypatch.setattr(sys, "argv", [f"tools/{name}.py", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools" / f"{name}.py"), run_name="__main__")
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err
