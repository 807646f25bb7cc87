"""Which clips a set consists of: look-alikes that sound different, sound-alikes that look different, and mute ones."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from gatefuse_plugins.data.clips.config import ClipSetConfig
from gatefuse_plugins.data.clips.vocabulary import (
    BOTH_TEMPLATES,
    COLOUR_NAMES,
    MOTIONS,
    PITCHES,
    RHYTHMS,
    SHAPES,
    SIGHT_TEMPLATES,
    SOUND_TEMPLATES,
    TIMBRES,
    Look,
    Sound,
)
from gatefuse_plugins.data.events.features import stream

GROUP = 13
"""Of 13 videos in a row, three times four are two looks times two sounds, and the last has no audio (7.7 %)."""

_CAPTION_KINDS = ("both", "sound", "both", "sight", "both")
_TEMPLATES = {"sight": SIGHT_TEMPLATES, "sound": SOUND_TEMPLATES, "both": BOTH_TEMPLATES}


@dataclass(frozen=True)
class ClipVideo:
    """One video.

    Attributes:
        name: as ``video12``; test videos number on after those of training.
        split: ``train`` or ``test``.
        look, sound: what is seen and heard; ``None`` is a video without audio file.
        family: videos of equal number are the four of two looks times two sounds.
        captions: pairs of kind and text.
    """

    name: str
    split: str
    look: Look
    sound: Sound | None
    family: int
    captions: tuple[tuple[str, str], ...]


def draw_videos(config: ClipSetConfig) -> list[ClipVideo]:
    """All videos, training first. No pair of look and sound occurs twice, not even in two splits."""
    rng = stream(config.seed, "clips videos")
    used: set[tuple[Look, Sound | None]] = set()
    videos: list[ClipVideo] = []
    for split, count, texts in (
        ("train", config.num_train_videos, config.captions_per_video),
        ("test", config.num_test_videos, 1),
    ):
        pairs: list[tuple[Look, Sound | None, int]] = []
        while len(pairs) < count:
            family = len(videos) + len(pairs)
            if len(pairs) % GROUP == GROUP - 1:
                pairs.append((_fresh_mute(rng, used), None, family))
            else:
                pairs += [(look, sound, family) for look, sound in _fresh_family(rng, used)]
        for index, (look, sound, family) in enumerate(pairs[:count]):
            captions = _captions(look, sound, index, texts, rng)
            videos.append(ClipVideo(f"video{len(videos)}", split, look, sound, family, captions))
    return videos


def _fresh_family(rng: Generator, used: set[tuple[Look, Sound | None]]) -> list[tuple[Look, Sound | None]]:
    while True:
        looks, sounds = {_draw_look(rng), _draw_look(rng)}, {_draw_sound(rng), _draw_sound(rng)}
        # sorted, since the order of a set may differ between processes
        ordered = sorted(looks, key=lambda look: (look.shape, look.colour, look.motion))
        heard = sorted(sounds, key=lambda sound: (sound.timbre, sound.pitch, sound.rhythm))
        pairs: list[tuple[Look, Sound | None]] = [(look, sound) for look in ordered for sound in heard]
        if len(pairs) == 4 and not used.intersection(pairs):
            used.update(pairs)
            return [pairs[position] for position in rng.permutation(4)]


def _fresh_mute(rng: Generator, used: set[tuple[Look, Sound | None]]) -> Look:
    # 90 looks may run out in large sets; then mute videos look alike in pairs, which captions cannot tell apart
    for _ in range(1000):
        look = _draw_look(rng)
        if (look, None) not in used:
            used.add((look, None))
            break
    return look


def _draw_look(rng: Generator) -> Look:
    return Look(*(int(rng.integers(len(choices))) for choices in (SHAPES, COLOUR_NAMES, MOTIONS)))


def _draw_sound(rng: Generator) -> Sound:
    return Sound(*(int(rng.integers(len(choices))) for choices in (TIMBRES, PITCHES, RHYTHMS)))


def _captions(look: Look, sound: Sound | None, index: int, count: int, rng: Generator) -> tuple[tuple[str, str], ...]:
    captions = []
    for number in range(count):
        # a single caption takes the kinds in turn, so that test sets hold them all
        kind = "sight" if sound is None else _CAPTION_KINDS[(index + number) % len(_CAPTION_KINDS)]
        template = _TEMPLATES[kind][int(rng.integers(len(_TEMPLATES[kind])))]
        captions.append((kind, template.format(look=look.text, sound=sound.text if sound is not None else "")))
    return tuple(captions)
