"""What can be seen and heard, and the English words for it."""

from __future__ import annotations

SUBJECTS = ("dog", "cat", "baby", "man", "woman", "horse")
ACTIONS = ("running", "eating", "sleeping", "jumping", "dancing")
SOUNDS = (
    *("dog barking", "cat meowing", "baby crying", "man laughing"),
    *("woman singing", "horse neighing", "bell ringing", "siren wailing", "engine roaring"),
)
"""Sound ``s`` below ``len(SUBJECTS)`` is made by subject ``s``, which need not be in the picture."""

NUM_PLACES = 10
NOTHING = -1
"""The class of a clip in which nothing is seen, or nothing is heard."""

SOUND_TEMPLATES = ("a {sound} is heard", "the sound of a {sound}", "we hear a {sound}")
SIGHT_TEMPLATES = ("a {subject} is {action}", "we see a {subject} {action}", "there is a {subject} {action}")
WHILE_TEMPLATES = (
    "a {sound} is heard while a {subject} is {action}",
    "we hear a {sound} while a {subject} is {action}",
)
EITHER_TEMPLATES = ("any sign of a {subject}", "the {subject} whether seen or heard", "a {subject} seen or heard")

DOMAIN_TITLES = {
    "BK": "beekeeping for beginners",
    "BT": "attempting bike tricks",
    "DS": "dog show finals",
    "FM": "flash mob gathering",
    "GA": "grooming an animal",
    "MS": "making a sandwich",
    "PK": "parkour in town",
    "PR": "street parade",
    "VT": "changing a vehicle tire",
    "VU": "getting a vehicle unstuck",
}
"""TVSum's ten domains, each with the title that its videos share here."""
