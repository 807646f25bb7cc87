"""One invented video: what is seen, what is heard, and where the audio does not belong to the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gatefuse_plugins.data.events.vocabulary import ACTIONS, NOTHING, NUM_PLACES, SOUNDS, SUBJECTS

SOUNDTRACKS = ("mixed", "mixed", "clean", "mixed", "off_topic")
"""The soundtrack of video ``i`` is entry ``i % 5``: off-topic in stretches, nowhere, or from beginning to end."""

_STRETCH_CLIPS = (6, 14)  # of one state of the soundtrack
_PLACE_CLIPS = (15, 40)  # indoors or not; few changes, so that averages over a video still tell something
_OFF_TOPIC_SHARE = 0.5  # of the stretches of a mixed soundtrack
_MIXED_BOUNDS = (0.25, 0.65)  # share of off-topic clips that a mixed soundtrack must keep to
_SOUND_CLIPS, _SILENCE_CLIPS = (3, 5), (1, 2)
_SIGHT_CLIPS, _EMPTY_CLIPS = (3, 8), (0, 3)
_PALETTE = {"subjects": 3, "actions": 3, "sounds": 3}
_HEARD_SUBJECTS = 2  # of the palette's sounds: made by subjects that are also seen in the video


@dataclass(frozen=True)
class Palette:
    """The classes that may occur in a video; few, so that each occurs more than once."""

    subjects: NDArray[np.int64]
    actions: NDArray[np.int64]
    sounds: NDArray[np.int64]


@dataclass(frozen=True)
class EventVideo:
    """A timeline; every array has one entry a clip, shape (L,).

    Attributes:
        place: index of the background, which never tells anything.
        subject, action: classes of the event in the picture, both ``NOTHING`` in an empty scene.
        sound: class that is heard, or ``NOTHING``.
        sight_level, sound_level: intensities, 0.4 to 1, and 0 where there is nothing.
        off_topic: True where the audio does not belong to the picture, so that its sounds answer no query.
        indoors: what the picture shows. reverberant: the acoustics of the audio. Audio is off-topic exactly where the
            two disagree; each is as often True there as elsewhere, so neither stream alone tells.
    """

    place: int
    subject: NDArray[np.int64]
    action: NDArray[np.int64]
    sight_level: NDArray[np.float64]
    sound: NDArray[np.int64]
    sound_level: NDArray[np.float64]
    indoors: NDArray[np.bool_]
    reverberant: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sound)

    @property
    def off_topic(self) -> NDArray[np.bool_]:
        return self.indoors != self.reverberant


def draw_palette(rng: Generator) -> Palette:
    """Classes of one video: some of its sounds share their noun with subjects in the picture, and mislead."""
    subjects = rng.permutation(len(SUBJECTS))[: _PALETTE["subjects"]]
    actions = rng.permutation(len(ACTIONS))[: _PALETTE["actions"]]
    heard = subjects[:_HEARD_SUBJECTS]
    others = np.setdiff1d(np.arange(len(SOUNDS)), heard)
    sounds = np.concatenate([heard, rng.permutation(others)[: _PALETTE["sounds"] - len(heard)]])
    return Palette(subjects, actions, sounds)


def draw_video(num_clips: int, soundtrack: str, palette: Palette, rng: Generator) -> EventVideo:
    """Draw a timeline of ``num_clips``; the picture, and soundtrack with off-topic mask, know nothing of each other.

    Off-topic stretches have the sounds of the rest of the video, at the same rate and intensity, so that the sound
    class alone never tells where it counts.
    """
    stretches = _draw_off_topic(num_clips, soundtrack, rng)
    sound, sound_level = np.full(num_clips, NOTHING), np.zeros(num_clips)
    classes = {off: _rounds(palette.sounds, rng) for off in (False, True)}
    for start, stop, off in stretches:  # no sound lasts from one into the next
        for begin, end in _segments(start, stop, _SILENCE_CLIPS, _SOUND_CLIPS, rng):
            sound[begin:end] = next(classes[off])
            sound_level[begin:end] = _profile(end - begin, rng)
    subject, action, sight_level = np.full(num_clips, NOTHING), np.full(num_clips, NOTHING), np.zeros(num_clips)
    for begin, end in _segments(0, num_clips, _EMPTY_CLIPS, _SIGHT_CLIPS, rng):
        subject[begin:end], action[begin:end] = rng.choice(palette.subjects), rng.choice(palette.actions)
        sight_level[begin:end] = _profile(end - begin, rng)
    indoors = _per_clip([(start, stop, bool(rng.integers(2))) for start, stop in _cut(num_clips, _PLACE_CLIPS, rng)])
    reverberant = indoors ^ _per_clip(stretches)
    place = int(rng.integers(NUM_PLACES))
    return EventVideo(place, subject, action, sight_level, sound, sound_level, indoors, reverberant)


def _draw_off_topic(num_clips: int, soundtrack: str, rng: Generator) -> list[tuple[int, int, bool]]:
    """Consecutive stretches that cover the video: ``(start, stop, off-topic)``."""
    share = {"clean": 0.0, "mixed": _OFF_TOPIC_SHARE, "off_topic": 1.0}[soundtrack]
    while True:
        stretches = [(start, stop, bool(rng.random() < share)) for start, stop in _cut(num_clips, _STRETCH_CLIPS, rng)]
        if soundtrack != "mixed" or _MIXED_BOUNDS[0] <= _per_clip(stretches).mean() <= _MIXED_BOUNDS[1]:
            return stretches


def _rounds(classes: NDArray[np.int64], rng: Generator) -> Iterator[int]:
    """All classes in random order, again and again: off-topic stretches soon have every sound of the video."""
    while True:
        yield from rng.permutation(classes)


def _cut(num_clips: int, length: tuple[int, int], rng: Generator) -> list[tuple[int, int]]:
    """``(start, stop)`` of consecutive stretches that cover the video."""
    lengths = rng.integers(length[0], length[1] + 1, num_clips)
    bounds = np.minimum(np.cumsum([0, *lengths]), num_clips).tolist()
    return [(start, stop) for start, stop in pairwise(bounds) if start < stop]


def _per_clip(stretches: list[tuple[int, int, bool]]) -> NDArray[np.bool_]:
    """The value of its stretch for each clip, shape (L,)."""
    return np.repeat([value for _, _, value in stretches], [stop - start for start, stop, _ in stretches])


def _segments(
    start: int, stop: int, gap: tuple[int, int], length: tuple[int, int], rng: Generator
) -> list[tuple[int, int]]:
    """Segments between ``start`` and ``stop``, a gap before each; the last is cut, or dropped where too short."""
    found = []
    begin = start + int(rng.integers(gap[0], gap[1] + 1))
    while stop - begin >= min(length[0], 2):
        end = min(begin + int(rng.integers(length[0], length[1] + 1)), stop)
        found.append((begin, end))
        begin = end + int(rng.integers(gap[0], gap[1] + 1))
    return found


def _profile(num_clips: int, rng: Generator) -> NDArray[np.float64]:
    """Intensities of one event: a peak at a random clip, falling off linearly to 0.6 of it, all in [0.4, 1]."""
    peak_at = int(rng.integers(num_clips))
    distance = np.abs(np.arange(num_clips) - peak_at)
    return rng.uniform(0.7, 1.0) * (1 - 0.4 * distance / max(num_clips - 1, 1))
