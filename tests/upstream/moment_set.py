"""A small set in the layout of QVHighlights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

VIDEO, TEXT, AUDIO = 12, 10, 8
"""Widths of the features in the files."""


def write_moment_set(folder: Path, samples: int = 40, clips: tuple[int, int] = (18, 26)) -> dict[str, str]:
    """Annotations and features of ``samples`` queries, one a video; returns the flags of QD-DETR's scripts."""
    generator = np.random.default_rng(0)
    for name in ("video", "text", "audio"):
        (folder / name).mkdir(parents=True)
    lines = []
    for qid in range(samples):
        length = int(generator.integers(*clips))
        size = (4, 10, 17)[qid % 3]  # short, middle and long moments: upstream's evaluation fails where one is missing
        start = int(generator.integers(0, length - size + 1))
        relevant = list(range(start, start + size))
        lines.append(
            {
                "qid": qid,
                "query": f"query {qid}",
                "duration": 2 * length,
                "vid": f"v{qid}",
                "relevant_clip_ids": relevant,
                "saliency_scores": [[1 + clip % 4, 2, 3] for clip in relevant],
                "relevant_windows": [[2 * start, 2 * (start + size)]],
            }
        )
        words = generator.standard_normal((int(generator.integers(3, 7)), TEXT))
        np.savez(folder / "video" / f"v{qid}.npz", features=generator.standard_normal((length, VIDEO)))
        np.savez(folder / "text" / f"qid{qid}.npz", last_hidden_state=words)
        np.save(folder / "audio" / f"v{qid}.npy", generator.standard_normal((length, AUDIO)))
    annotations = folder / "samples.jsonl"
    annotations.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "train_path": str(annotations),
        "eval_path": str(annotations),
        "v_feat_dirs": str(folder / "video"),
        "v_feat_dim": str(VIDEO),
        "t_feat_dir": str(folder / "text"),
        "t_feat_dim": str(TEXT),
        "a_feat_dir": str(folder / "audio"),
        "a_feat_dim": str(AUDIO + 2),
    }
