"""Small QVHighlights and TVSum copies on disk, with random features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = {"slowfast_features": 6, "clip_features": 4, "pann_features": 5, "clip_text_features": 3}


def moment_record(qid: int | str, vid: str, num_clips: int = 10, **changes: Any) -> dict[str, Any]:
    """A line of QVHighlights whose clips 2..4 and 7 are relevant."""
    record = {
        "qid": qid,
        "query": f"query {qid}",
        "duration": 2 * num_clips,
        "vid": vid,
        "relevant_clip_ids": [2, 3, 4, 7],
        "saliency_scores": [[1, 2, 3], [4, 4, 4], [0, 1, 1], [2, 2, 2]],
        "relevant_windows": [[4, 10], [14, 16]],
    }
    return record | changes


def write_lines(path: Path, records: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


def write_qvhighlights(
    root: Path,
    records: Sequence[dict[str, Any]] | None = None,
    split: str = "train",
    rows: dict[str, int] | None = None,
    prefix: str = "",
) -> list[dict[str, Any]]:
    """Annotations and features of one split; ``rows`` overrides the rows of a source, ``prefix`` names folders."""
    records = records or [moment_record(7, "a"), moment_record(3, "b", 12), moment_record(9, "a")]
    write_lines(root / f"highlight_{split}_release.jsonl", records)
    generator = np.random.default_rng(len(split))
    folders = {name: root / "features" / f"{prefix}{name}" for name in WIDTHS}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)

    def draw(name: str, count: int) -> np.ndarray:
        return generator.standard_normal(((rows or {}).get(name, count), WIDTHS[name])).astype(np.float32)

    for record in records:
        vid, count = record["vid"], round(record["duration"] / 2)
        for name in ("slowfast_features", "clip_features"):
            np.savez(folders[name] / f"{vid}.npz", features=draw(name, count))
        np.save(folders["pann_features"] / f"{vid}.npy", draw("pann_features", count))
        text = draw("clip_text_features", 3 + len(record["query"]) % 3)
        np.savez(folders["clip_text_features"] / f"qid{record['qid']}.npz", last_hidden_state=text)
    return records


def write_tvsum(root: Path, records: Sequence[dict[str, Any]], split: str = "train") -> None:
    """Annotations and features (I3D 4 + 4, text 3, audio 5 wide) of one split, in the release's folders."""
    write_lines(root / f"data/tvsum/tvsum_{split}.jsonl", records)
    generator = np.random.default_rng(1)
    folders = [root / "features/tvsum" / name for name in ("video_features", "query_features", "audio_features")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    video, query, audio = folders
    for record in records:
        vid, count = record["vid"], len(record["label"])
        for part in ("rgb", "opt"):
            np.save(video / f"{vid}_{part}.npy", generator.standard_normal((count, 4)))  # float64, as extractors may
        np.savez(query / f"{vid}.npz", token=generator.standard_normal((1, 4, 3)).astype(np.float32))
        np.save(audio / f"{vid}.npy", generator.standard_normal((count, 5)).astype(np.float32))
