"""English queries about a video, the clips that answer them, and what annotators would write down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gatefuse_plugins.data.events.config import CLIP_SECONDS
from gatefuse_plugins.data.events.timeline import EventVideo
from gatefuse_plugins.data.events.vocabulary import (
    ACTIONS,
    EITHER_TEMPLATES,
    NOTHING,
    SIGHT_TEMPLATES,
    SOUND_TEMPLATES,
    SOUNDS,
    SUBJECTS,
    WHILE_TEMPLATES,
)

KINDS = ("sound", "sight", "both")
_FORMS = ("sound", "while", "sight", "sound", "either", "sight", "sound", "while")
_FORMS_OFF_TOPIC = ("sight", "either") * 4  # of videos whose whole soundtrack is off-topic
_KIND_OF_FORM = {"sound": "sound", "sight": "sight", "while": "both", "either": "both"}
_Candidates = list[tuple[dict[str, str], NDArray[np.float64]]]  # words for the template, and the answer
_LEAST_CLIPS = 2
_MOST_OF_VIDEO = 0.6  # a query that most clips answer asks for nothing
_NUM_ANNOTATORS = 3
_ANNOTATOR_NOISE = 0.4  # of a saliency grade


@dataclass(frozen=True)
class Query:
    """A query and its answer: ``level`` (L,) is the intensity of what it asks for, 0 in clips that do not answer it."""

    text: str
    kind: str
    level: NDArray[np.float64]


def heard(video: EventVideo, sound: int) -> NDArray[np.float64]:
    """Intensity (L,) of a sound where it belongs to the picture."""
    return np.where((video.sound == sound) & ~video.off_topic, video.sound_level, 0.0)


def seen(video: EventVideo, subject: int, action: int | None = None) -> NDArray[np.float64]:
    """Intensity (L,) of a subject in the picture, doing ``action`` where one is named."""
    there = (video.subject == subject) & (action is None or video.action == action)
    return np.where(there, video.sight_level, 0.0)


def draw_queries(video: EventVideo, count: int, rng: Generator) -> list[Query] | None:
    """``count`` distinct queries on ``video``, or None where it does not hold enough.

    ``sound`` is answered by the audio alone, ``sight`` by the picture alone, ``both`` needs the two: a sound during an
    event, or a subject wherever it is seen or heard. Where the whole soundtrack is off-topic all queries are of kind
    ``sight``; "seen or heard" is then answered by the picture, and audio that is trusted gives wrong windows.
    """
    no_sound_counts = bool(video.off_topic.all())
    queries: dict[str, Query] = {}
    pools: dict[str, _Candidates] = {}
    for form in (_FORMS_OFF_TOPIC if no_sound_counts else _FORMS)[:count]:
        if form not in pools:
            pools[form] = [found for found in _CANDIDATES[form](video, rng) if _is_askable(found[1])]
        if not pools[form]:
            return None
        words, level = pools[form].pop(0)
        text = str(rng.choice(_TEMPLATES[form])).format(**words)
        queries[text] = Query(text, "sight" if no_sound_counts else _KIND_OF_FORM[form], level)
    return list(queries.values())


def annotate(query: Query, rng: Generator) -> dict[str, Any]:
    """Labels in QVHighlights' form: ``relevant_clip_ids``, ``saliency_scores`` (3 annotators, 1..4), windows in s."""
    clips = np.flatnonzero(query.level)
    noise = rng.normal(0.0, _ANNOTATOR_NOISE, (len(clips), _NUM_ANNOTATORS))
    scores = np.clip(np.rint(4.4 * query.level[clips, None] + noise), 1, 4).astype(int)
    return {
        "relevant_clip_ids": clips.tolist(),
        "saliency_scores": scores.tolist(),
        "relevant_windows": windows(query.level > 0),
    }


def windows(relevant: NDArray[np.bool_]) -> list[list[int]]:
    """Runs of True in (L,) as ``[start, end]`` in seconds."""
    found, start = [], 0
    for value, run in groupby(relevant.tolist()):
        stop = start + len(list(run))
        if value:
            found.append([start * CLIP_SECONDS, stop * CLIP_SECONDS])
        start = stop
    return found


def _is_askable(level: NDArray[np.float64]) -> bool:
    return _LEAST_CLIPS <= np.count_nonzero(level) <= _MOST_OF_VIDEO * len(level)


def _sounds(video: EventVideo, rng: Generator) -> _Candidates:
    """Sounds in random order, those that are also heard off-topic first: they tell who trusts the wrong audio."""
    classes = rng.permutation(np.setdiff1d(video.sound, [NOTHING]))
    misleading = np.isin(classes, video.sound[video.off_topic])
    return [({"sound": SOUNDS[index]}, heard(video, index)) for index in (*classes[misleading], *classes[~misleading])]


def _sights(video: EventVideo, rng: Generator) -> _Candidates:
    pairs = np.unique(np.stack([video.subject, video.action], 1)[video.subject != NOTHING], axis=0)
    return [
        ({"subject": SUBJECTS[subject], "action": ACTIONS[action]}, seen(video, subject, action))
        for subject, action in rng.permutation(pairs)
    ]


def _conjunctions(video: EventVideo, rng: Generator) -> _Candidates:
    found = [
        (heard_words | seen_words, np.minimum(sound, sight))
        for heard_words, sound in _sounds(video, rng)
        for seen_words, sight in _sights(video, rng)
    ]
    return [found[index] for index in rng.permutation(len(found))]


def _signs(video: EventVideo, rng: Generator) -> _Candidates:
    """Subjects that are seen and whose sound is on the soundtrack, off-topic or not."""
    classes = rng.permutation(np.intersect1d(np.setdiff1d(video.subject, [NOTHING]), video.sound))
    return [({"subject": SUBJECTS[index]}, np.maximum(heard(video, index), seen(video, index))) for index in classes]


_CANDIDATES: dict[str, Callable[[EventVideo, Generator], _Candidates]] = {
    "sound": _sounds,
    "sight": _sights,
    "while": _conjunctions,
    "either": _signs,
}
_TEMPLATES = {
    "sound": SOUND_TEMPLATES,
    "sight": SIGHT_TEMPLATES,
    "while": WHILE_TEMPLATES,
    "either": EITHER_TEMPLATES,
}
