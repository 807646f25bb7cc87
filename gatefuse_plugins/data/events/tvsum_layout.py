"""The embedded events in TVSum's layout: ten domains, a title as query, and importance by 20 annotators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gatefuse_plugins.data.events.config import EventSetConfig
from gatefuse_plugins.data.events.features import EventFeatures, stream
from gatefuse_plugins.data.events.queries import heard, seen
from gatefuse_plugins.data.events.store import OFF_TOPIC, make_set, write_lines
from gatefuse_plugins.data.events.timeline import SOUNDTRACKS, EventVideo, Palette, draw_palette, draw_video
from gatefuse_plugins.data.events.vocabulary import ACTIONS, DOMAIN_TITLES, SOUNDS, SUBJECTS
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.files import write_json

SPLITS = ("train", "val")
_FOLDERS = ("video_features", "query_features", "audio_features")
_NUM_ANNOTATORS = 20
_ANNOTATOR_BIAS, _ANNOTATOR_NOISE = 0.4, 0.7  # of a grade
_SOUND_SHARE = 0.5  # of the importance; the rest is seen


def make_tvsum_events(root: Path, config: EventSetConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Make the set at ``root`` in TVSum's layout; kept as it is where it stands complete.

    ``tvsum_{train,val}.jsonl`` with ``label`` (clips, 20 annotators) in 1..5, and below ``features/tvsum/``:
    ``video_features/{vid}_rgb.npy`` and ``{vid}_opt.npy``, ``audio_features/{vid}.npy``,
    ``query_features/{vid}.npz`` (``token``, ``text``). In each domain one subject, one action and one sound make a
    clip important, half by sight and half by sound; a sound counts only where the audio belongs to the picture, which
    ``off_topic.json`` tells. As in the real set, ``duration`` equals the number of labelled clips.

    Args:
        progress: called with (videos written, videos in all).

    Returns:
        The identity that ``gatefuse_dataset.json`` holds: name, generator_version, config, embedded, layout, digest.

    Raises:
        DataError: ``root`` holds anything else, or the set was changed.
    """
    return make_set(root, "tvsum", config, lambda folder: _write(folder, config, progress))


def _write(root: Path, config: EventSetConfig, progress: Progress | None) -> None:
    folder = root / "features" / "tvsum"
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    features = EventFeatures(config)
    off_topic: dict[str, list[int]] = {}
    total = sum(len(DOMAIN_TITLES) * _per_domain(config, split) for split in SPLITS)
    for split in SPLITS:
        entries = []
        for domain, title in DOMAIN_TITLES.items():
            for index in range(_per_domain(config, split)):
                vid = f"event_{domain}_{split}_{index:03d}"
                rng = stream(config.seed, f"tvsum {domain} {split}", index)
                video, importance = _draw(config, domain, index, rng)
                off_topic[vid] = video.off_topic.astype(int).tolist()
                _write_features(folder, vid, video, features.tokens(title), features, rng)
                entries.append(_annotation(vid, title, domain, _grades(importance, rng)))
                if progress is not None:
                    progress(len(off_topic), total)
        write_lines(root / f"tvsum_{split}.jsonl", entries)
    write_json(root / OFF_TOPIC, off_topic, indent=None)


def _per_domain(config: EventSetConfig, split: str) -> int:
    return max(1, config.num_videos(split) // len(DOMAIN_TITLES))


def _draw(config: EventSetConfig, domain: str, index: int, rng: Generator) -> tuple[EventVideo, NDArray[np.float64]]:
    """A video in which the domain's classes may occur, and the latent importance (L,) of its clips in [0, 1]."""
    keys = stream(config.seed, f"tvsum {domain} keys")
    subject, action, sound = (int(keys.integers(len(names))) for names in (SUBJECTS, ACTIONS, SOUNDS))
    drawn = draw_palette(rng)
    palette = Palette(
        subjects=_with_key(drawn.subjects, subject),
        actions=_with_key(drawn.actions, action),
        sounds=_with_key(drawn.sounds, sound),
    )
    num_clips = int(rng.integers(config.min_clips, config.max_clips + 1))
    video = draw_video(num_clips, SOUNDTRACKS[index % len(SOUNDTRACKS)], palette, rng)
    doing = np.where(video.action == action, video.sight_level, 0.0)
    sight = (seen(video, subject) + doing) / 2
    return video, (1 - _SOUND_SHARE) * sight + _SOUND_SHARE * heard(video, sound)


def _with_key(classes: NDArray[np.int64], key: int) -> NDArray[np.int64]:
    """``classes`` with ``key`` among them, in the place of the last where it is not there yet."""
    return classes if key in classes else np.append(classes[:-1], key)


def _grades(importance: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """(L, 20) whole grades 1..5; annotators differ in leniency."""
    bias = rng.normal(0.0, _ANNOTATOR_BIAS, (1, _NUM_ANNOTATORS))
    noise = rng.normal(0.0, _ANNOTATOR_NOISE, (len(importance), _NUM_ANNOTATORS))
    return np.clip(np.rint(1.0 + 4.5 * importance[:, None] + bias + noise), 1, 5)


def _annotation(vid: str, title: str, domain: str, grades: NDArray[np.float64]) -> dict[str, Any]:
    head: dict[str, Any] = {"qid": vid, "query": title, "duration": len(grades), "vid": vid}
    unlabelled = {"relevant_clip_ids": None, "relevant_windows": None}
    return head | unlabelled | {"label": grades.tolist(), "domain": domain}


def _write_features(
    folder: Path, vid: str, video: EventVideo, tokens: NDArray[np.float32], features: EventFeatures, rng: Generator
) -> None:
    np.save(folder / "video_features" / f"{vid}_rgb.npy", features.appearance(video, rng))
    np.save(folder / "video_features" / f"{vid}_opt.npy", features.motion(video, rng))
    np.save(folder / "audio_features" / f"{vid}.npy", features.audio(video, rng))
    np.savez(folder / "query_features" / f"{vid}.npz", token=tokens, text=tokens.mean(0))
