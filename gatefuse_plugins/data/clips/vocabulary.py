"""What can be seen and heard in an embedded clip, and the English words for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "cross", "ring")
COLOURS = {
    "red": (215, 40, 40),
    "green": (40, 165, 60),
    "blue": (45, 80, 215),
    "yellow": (235, 205, 40),
    "purple": (150, 50, 180),
    "white": (240, 240, 240),
}
COLOUR_NAMES = tuple(COLOURS)
MOTIONS = ("sideways", "up and down", "nowhere")

TIMBRES = ("tone", "buzz", "hiss", "siren", "rising sweep", "falling sweep")
PITCHES = ("low", "middle", "high")
RHYTHMS = ("steady", "slowly beating", "quickly beating")

NUM_LOOKS = len(SHAPES) * len(COLOURS) * len(MOTIONS)
NUM_SOUNDS = len(TIMBRES) * len(PITCHES) * len(RHYTHMS)

SIGHT_TEMPLATES = ("{look}", "there is {look}", "we see {look}", "the video shows {look}")
SOUND_TEMPLATES = ("{sound}", "there is {sound}", "we hear {sound}", "the sound of {sound}")
BOTH_TEMPLATES = ("{look} with {sound}", "{look} while we hear {sound}", "we hear {sound} and see {look}")

KINDS = ("sight", "sound", "both")
"""What a caption speaks of."""


@dataclass(frozen=True)
class Look:
    """Indices into ``SHAPES``, ``COLOUR_NAMES`` and ``MOTIONS``."""

    shape: int
    colour: int
    motion: int

    @property
    def text(self) -> str:
        """For example ``a red circle moving up and down``."""
        motion = "standing still" if MOTIONS[self.motion] == "nowhere" else f"moving {MOTIONS[self.motion]}"
        return f"a {COLOUR_NAMES[self.colour]} {SHAPES[self.shape]} {motion}"


@dataclass(frozen=True)
class Sound:
    """Indices into ``TIMBRES``, ``PITCHES`` and ``RHYTHMS``."""

    timbre: int
    pitch: int
    rhythm: int

    @property
    def text(self) -> str:
        """For example ``a slowly beating high buzz``."""
        return f"a {RHYTHMS[self.rhythm]} {PITCHES[self.pitch]} {TIMBRES[self.timbre]}"


def caption_words() -> list[str]:
    """Every word that captions of any embedded set of clips use, sorted: a closed vocabulary for text encoders."""
    looks = [Look(s, c, m).text for s in range(len(SHAPES)) for c in range(len(COLOURS)) for m in range(len(MOTIONS))]
    sounds = [
        Sound(t, p, r).text for t in range(len(TIMBRES)) for p in range(len(PITCHES)) for r in range(len(RHYTHMS))
    ]
    templates = [text.format(look="", sound="") for text in (*SIGHT_TEMPLATES, *SOUND_TEMPLATES, *BOTH_TEMPLATES)]
    return sorted(set(re.findall(r"\w+", " ".join([*looks, *sounds, *templates]))))
