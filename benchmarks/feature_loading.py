"""Epoch loading rate of moment-retrieval features: files opened for every sample, against packed stores.

python benchmarks/feature_loading.py [--upstream PATH --videos 400 --batch-size 32 --rounds 3 --compressed]

A QVHighlights copy of real sizes (75 clips; SlowFast 2304, CLIP 512, PANN 2048, text 20 x 512) is written to a
temporary folder and packed. An epoch loads every query once, in batches, with labels: ``per sample`` loads,
normalises, concatenates and pads sample by sample from feature files, upstream's way; with ``--upstream PATH`` (a
QD-DETR checkout with its ``utils``) that is upstream's own data set and collate function. ``files`` is this project's
data set on the same files, ``packed`` the same on the stores. All run in the main process, on cached files.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from timing import Step, paired_ratio, time_paired, use_threads

from gatefuse_plugins.data import QVHighlightsDataset
from gatefuse_plugins.data.moments import pack_folder
from gatefuse_plugins.data.moments.sources import FeatureSource

CLIPS, TOKENS = 75, 20
WIDTHS = {"slowfast_features": 2304, "clip_features": 512, "pann_features": 2048, "clip_text_features": 512}
VIDEO = ("slowfast_features", "clip_features")
Loader = Callable[[Sequence[int]], Any]


def write_set(root: Path, videos: int, compressed: bool) -> Path:
    """One query a video; returns the annotation file."""
    generator = np.random.default_rng(0)
    save = np.savez_compressed if compressed else np.savez
    for name in WIDTHS:
        (root / "features" / name).mkdir(parents=True)
    records = []
    for number in range(videos):
        vid = f"video{number}"
        for name in VIDEO:
            rows = generator.standard_normal((CLIPS, WIDTHS[name]), dtype=np.float32)
            save(root / "features" / name / f"{vid}.npz", features=rows)
        rows = generator.standard_normal((CLIPS, WIDTHS["pann_features"]), dtype=np.float32)
        np.save(root / "features/pann_features" / f"{vid}.npy", rows)
        tokens = generator.standard_normal((TOKENS, 512), dtype=np.float32)
        save(root / "features/clip_text_features" / f"qid{number}.npz", last_hidden_state=tokens)
        labels = {"relevant_clip_ids": [5, 6, 7], "saliency_scores": [[1, 2, 3]] * 3, "relevant_windows": [[10, 16]]}
        records.append({"qid": number, "query": "q", "vid": vid, "duration": 2 * CLIPS} | labels)
    path = root / "highlight_train_release.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def per_sample_loader(root: Path) -> Loader:
    """Loading sample by sample, as upstream does it, from features alone (labels cost next to nothing)."""

    def normalised(rows: np.ndarray) -> np.ndarray:
        rows = rows[:CLIPS].astype(np.float32)
        return rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-5)

    def sample(number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        folder, vid = root / "features", f"video{number}"
        video = np.concatenate([normalised(np.load(folder / n / f"{vid}.npz")["features"]) for n in VIDEO], axis=1)
        audio = normalised(np.load(folder / f"pann_features/{vid}.npy"))
        text = normalised(np.load(folder / f"clip_text_features/qid{number}.npz")["last_hidden_state"])
        starts = torch.arange(0, len(video), 1.0) / len(video)
        ends = torch.stack([starts, starts + 1 / len(video)], dim=1)
        streams = [torch.cat([torch.from_numpy(rows), ends], dim=1) for rows in (video, audio)]
        return streams[0], streams[1], torch.from_numpy(text)

    def load(indices: Sequence[int]) -> list[torch.Tensor]:
        batch = []
        for streams in zip(*(sample(index) for index in indices), strict=True):
            padded = torch.zeros(len(streams), max(map(len, streams)), streams[0].shape[1])
            for place, rows in zip(padded, streams, strict=True):
                place[: len(rows)] = rows
            batch.append(padded)
        return batch

    return load


def upstream_loader(checkout: Path, root: Path, annotations: Path) -> Loader:
    """Upstream's data set and collate function, from a checkout."""
    sys.path.insert(0, str(checkout))
    module = importlib.import_module("qd_detr.start_end_dataset_audio")
    folder = root / "features"
    data = module.StartEndDataset_audio(
        "hl",
        str(annotations),
        [str(folder / name) for name in VIDEO],
        str(folder / "clip_text_features"),
        str(folder / "pann_features"),
        ctx_mode="video_tef",
    )
    return lambda indices: module.start_end_collate_audio([data[index] for index in indices])


def pack(root: Path, dtype: str) -> Path:
    modality = {"pann_features": "audio", "clip_text_features": "text"}
    for name in WIDTHS:
        source = FeatureSource.of("qvhighlights", modality.get(name, "video"), root / "features" / name)
        pack_folder(source, root / dtype, dtype)
    return root / dtype


def epoch(load: Loader, count: int, batch_size: int) -> Step:
    order = np.random.default_rng(1).permutation(count).tolist()

    def run() -> None:
        for start in range(0, count, batch_size):
            load(order[start : start + batch_size])

    return run


def arms_of(args: argparse.Namespace, root: Path) -> dict[str, Step]:
    annotations = write_set(root, args.videos, args.compressed)
    per_sample = upstream_loader(args.upstream, root, annotations) if args.upstream else per_sample_loader(root)
    loaders: dict[str, Loader] = {"upstream" if args.upstream else "per sample": per_sample}
    loaders["files"] = QVHighlightsDataset(root, audio_features="auto").__getitems__
    for dtype in ("float32", "float16"):
        packed = QVHighlightsDataset(root, audio_features="auto", packed=pack(root, dtype))
        loaders[f"packed {dtype}"] = packed.__getitems__
    return {name: epoch(load, args.videos, args.batch_size) for name, load in loaders.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, help="QD-DETR checkout that holds qd_detr/ and utils/")
    parser.add_argument("--videos", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3, help="timed epochs of each arm")
    parser.add_argument("--compressed", action="store_true", help="feature files by np.savez_compressed")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--threads", type=int, help="torch threads; torch's own choice by default")
    args = parser.parse_args()
    use_threads(args.threads)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        timings = time_paired(arms_of(args, Path(folder)), args.rounds)
    kind = "compressed npz" if args.compressed else "npz"
    table = Table("loading", title=f"epochs of {args.videos} queries ({kind}), batch {args.batch_size}")
    base = next(iter(timings.values()))
    for header in ("queries/s", "ms/query", "times as fast (paired)", "of minima"):
        table.add_column(header, justify="right")
    for name, timing in timings.items():
        ratios = f"{paired_ratio(base, timing):.1f}", f"{base.fastest / timing.fastest:.1f}"
        table.add_row(name, f"{args.videos / timing.median:.0f}", f"{timing.median / args.videos * 1e3:.2f}", *ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
