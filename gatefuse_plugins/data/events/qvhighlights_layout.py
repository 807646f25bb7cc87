"""The embedded events in QVHighlights' layout, as moment_detr and QD-DETR read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gatefuse_plugins.data.events.config import CLIP_SECONDS, EventSetConfig
from gatefuse_plugins.data.events.features import EventFeatures, stream
from gatefuse_plugins.data.events.queries import Query, annotate, draw_queries
from gatefuse_plugins.data.events.store import OFF_TOPIC, make_set, write_lines
from gatefuse_plugins.data.events.timeline import SOUNDTRACKS, EventVideo, draw_palette, draw_video
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.files import write_json

SPLITS = ("train", "val", "test")
_FOLDERS = ("slowfast_features", "clip_features", "clip_text_features", "pann_features")
_LABELS = ("relevant_clip_ids", "saliency_scores", "relevant_windows")
_ATTEMPTS = 200


def make_qvhighlights_events(root: Path, config: EventSetConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Make the set at ``root`` in QVHighlights' layout; kept as it is where it stands complete.

    ``highlight_{train,val,test}_release.jsonl`` (test without labels), ``highlight_test_with_gt.jsonl``, and below
    ``features/``: ``slowfast_features/{vid}.npz`` and ``clip_features/{vid}.npz`` (key ``features``),
    ``pann_features/{vid}.npy``, ``clip_text_features/qid{qid}.npz`` (``last_hidden_state``, ``pooler_output``).
    Each annotation has the extra key ``query_kind``; ``off_topic.json`` maps each vid to a 0 or 1 a clip.

    Args:
        progress: called with (videos written, videos in all).

    Returns:
        The identity that ``gatefuse_dataset.json`` holds: name, generator_version, config, embedded, layout, digest.

    Raises:
        DataError: ``root`` holds anything else, or the set was changed.
        ConfigError: videos of the config's lengths do not hold that many distinct queries.
    """
    return make_set(root, "qvhighlights", config, lambda folder: _write(folder, config, progress))


def draw_annotated_video(config: EventSetConfig, split: str, index: int) -> tuple[EventVideo, list[Query], Generator]:
    """Video ``index`` of ``split``, its queries, and the stream that its annotators and noise go on with."""
    rng = stream(config.seed, f"qvhighlights {split}", index)
    for _ in range(_ATTEMPTS):
        num_clips = int(rng.integers(config.min_clips, config.max_clips + 1))
        video = draw_video(num_clips, SOUNDTRACKS[index % len(SOUNDTRACKS)], draw_palette(rng), rng)
        queries = draw_queries(video, config.queries_per_video, rng)
        if queries is not None:
            return video, queries, rng
    raise ConfigError(
        f"EventSetConfig: no video of {config.min_clips} to {config.max_clips} clips with queries_per_video="
        f"{config.queries_per_video} distinct queries in {_ATTEMPTS} attempts; raise min_clips or ask fewer queries"
    )


def _write(root: Path, config: EventSetConfig, progress: Progress | None) -> None:
    for name in _FOLDERS:
        (root / "features" / name).mkdir(parents=True)
    features = EventFeatures(config)
    off_topic: dict[str, list[int]] = {}
    total, next_qid = sum(map(config.num_videos, SPLITS)), 1
    for split in SPLITS:
        entries: list[dict[str, Any]] = []
        for index in range(config.num_videos(split)):
            vid = f"event_{split}_{index:05d}"
            video, queries, rng = draw_annotated_video(config, split, index)
            off_topic[vid] = video.off_topic.astype(int).tolist()
            _write_video(root / "features", vid, video, features, rng)
            for query in queries:
                entries.append(_annotation(next_qid, vid, query, rng))
                _write_text(root / "features", next_qid, features.tokens(query.text))
                next_qid += 1
            if progress is not None:
                progress(len(off_topic), total)
        _write_annotations(root, split, entries)
    write_json(root / OFF_TOPIC, off_topic, indent=None)


def _annotation(qid: int, vid: str, query: Query, rng: Generator) -> dict[str, Any]:
    head = {"qid": qid, "query": query.text, "duration": len(query.level) * CLIP_SECONDS, "vid": vid}
    return head | annotate(query, rng) | {"query_kind": query.kind}


def _write_annotations(root: Path, split: str, entries: list[dict[str, Any]]) -> None:
    if split == "test":
        write_lines(root / "highlight_test_with_gt.jsonl", entries)
        entries = [{key: value for key, value in entry.items() if key not in _LABELS} for entry in entries]
    write_lines(root / f"highlight_{split}_release.jsonl", entries)


def _write_video(folder: Path, vid: str, video: EventVideo, features: EventFeatures, rng: Generator) -> None:
    np.savez(folder / "slowfast_features" / f"{vid}.npz", features=features.motion(video, rng))
    np.savez(folder / "clip_features" / f"{vid}.npz", features=features.appearance(video, rng))
    np.save(folder / "pann_features" / f"{vid}.npy", features.audio(video, rng))


def _write_text(folder: Path, qid: int, tokens: NDArray[np.float32]) -> None:
    pooled = tokens.mean(0)
    np.savez(folder / "clip_text_features" / f"qid{qid}.npz", last_hidden_state=tokens, pooler_output=pooled)
