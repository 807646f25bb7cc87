"""Feature vectors of videos and queries, in the place of SlowFast, CLIP, I3D and PANN features."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gatefuse_plugins.data.events.config import EventSetConfig
from gatefuse_plugins.data.events.timeline import EventVideo
from gatefuse_plugins.data.events.vocabulary import ACTIONS, NUM_PLACES, SOUNDS, SUBJECTS

Features = NDArray[np.float32]

_STRONG, _WEAK = 1.5, 0.6  # what a source is made for, and what it also shows
_SOUND_SCALE, _CUE_SCALE, _PLACE_SCALE = 2.0, 1.0, 0.6
_POSITION_SCALE = 0.3
_RESOLUTION = 1024  # features are multiples of 1/1024: the same bytes whatever the order of a processor's additions


@dataclass(frozen=True)
class _Directions:
    """Unit vectors of one source by class; shapes (classes, width) and, for the cue, (width,)."""

    subject: Features
    action: Features
    sound: Features
    place: Features
    cue: Features


class EventFeatures:
    """Draws the features of a set; the directions of all classes and words depend on ``config.seed`` alone."""

    def __init__(self, config: EventSetConfig) -> None:
        self.config = config
        self._motion = _directions(config, "motion", config.motion_width)
        self._appearance = _directions(config, "appearance", config.appearance_width)
        self._audio = _directions(config, "audio", config.audio_width)
        self._words: dict[str, Features] = {}

    def motion(self, video: EventVideo, rng: Generator) -> Features:
        """(L, motion_width): the action strongly, the subject weakly, background, and indoors or not."""
        return self._picture(video, self._motion, _WEAK, _STRONG, rng)

    def appearance(self, video: EventVideo, rng: Generator) -> Features:
        """(L, appearance_width): the subject strongly, the action weakly, background, and indoors or not."""
        return self._picture(video, self._appearance, _STRONG, _WEAK, rng)

    def audio(self, video: EventVideo, rng: Generator) -> Features:
        """(L, audio_width): the sound, the ambience of the place, and reverberant or not."""
        own = self._audio
        clean = _SOUND_SCALE * video.sound_level[:, None] * own.sound[video.sound]
        clean = clean + _PLACE_SCALE * own.place[video.place] + _CUE_SCALE * np.outer(_sign(video.reverberant), own.cue)
        return _noisy(clean, self.config.audio_noise, rng)

    def tokens(self, text: str) -> Features:
        """(words, text_width): one fixed random vector a word, plus a small one a position; no context."""
        words = text.split()
        return _rounded(
            np.stack([self._word(word) + _POSITION_SCALE * self._word(f"#{at}") for at, word in enumerate(words)])
        )

    def _picture(
        self, video: EventVideo, own: _Directions, subject_scale: float, action_scale: float, rng: Generator
    ) -> Features:
        # NOTHING is index -1 here, a direction like any other, that its level of 0 removes
        event = subject_scale * own.subject[video.subject] + action_scale * own.action[video.action]
        clean = video.sight_level[:, None] * event + _PLACE_SCALE * own.place[video.place]
        clean = clean + _CUE_SCALE * np.outer(_sign(video.indoors), own.cue)
        return _noisy(clean, self.config.video_noise, rng)

    def _word(self, word: str) -> Features:
        if word not in self._words:
            rng = stream(self.config.seed, f"word {word}")
            self._words[word] = _unit(rng.standard_normal((1, self.config.text_width)))[0]
        return self._words[word]


def stream(seed: int, name: str, index: int = 0) -> Generator:
    """An own random stream by name; CRC and not ``hash``, which differs between processes."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), index])


def _directions(config: EventSetConfig, source: str, width: int) -> _Directions:
    rng = stream(config.seed, f"directions {source}")
    sizes = (len(SUBJECTS), len(ACTIONS), len(SOUNDS), NUM_PLACES, 1)
    subject, action, sound, place, cue = (_unit(rng.standard_normal((size, width))) for size in sizes)
    return _Directions(subject, action, sound, place, cue[0])


def _unit(rows: NDArray[np.float64]) -> Features:
    return (rows / np.sqrt(np.square(rows).sum(1, keepdims=True))).astype(np.float32)


def _noisy(clean: NDArray[np.floating], noise: float, rng: Generator) -> Features:
    return _rounded(clean + noise * rng.standard_normal(clean.shape))


def _sign(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(flags, 1, -1)


def _rounded(values: NDArray[np.floating]) -> Features:
    return (np.rint(values * _RESOLUTION) / _RESOLUTION).astype(np.float32)
