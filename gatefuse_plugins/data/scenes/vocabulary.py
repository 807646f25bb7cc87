"""What a scene can hold, and how it is coded.

A scene is a tuple of nine codes, row by row; 0 is an empty cell, any other code is one object. Tuples hash and compare
fast, which is what keeps a gallery free of identical scenes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHAPES = ("circle", "ring", "square", "diamond", "triangle", "cross")
SIZES = ("small", "large")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "green": (44, 150, 44),
    "blue": (40, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (140, 60, 180),
    "cyan": (50, 200, 220),
    "brown": (130, 80, 40),
    "pink": (245, 130, 190),
}
COLOUR_NAMES = tuple(COLOURS)

GRID = 3
NUM_CELLS = GRID * GRID
CELL_NAMES = (
    "top left",
    "top middle",
    "top right",
    "middle left",
    "centre",
    "middle right",
    "bottom left",
    "bottom middle",
    "bottom right",
)

EMPTY = 0
NUM_CODES = 1 + len(SHAPES) * len(COLOURS) * len(SIZES)

Scene = tuple[int, ...]
"""Nine codes in ``range(NUM_CODES)``."""


def encode(shape: int, colour: int, size: int) -> int:
    """The code of one object, from indices into ``SHAPES``, ``COLOUR_NAMES`` and ``SIZES``."""
    return 1 + (shape * len(COLOURS) + colour) * len(SIZES) + size


def decode(code: int) -> tuple[int, int, int]:
    """``(shape, colour, size)`` of an object's code; the inverse of :func:`encode`."""
    if not 0 < code < NUM_CODES:
        raise ValueError(f"code {code} is no object: expected 1 to {NUM_CODES - 1} (0 is the empty cell)")
    rest, size = divmod(code - 1, len(SIZES))
    shape, colour = divmod(rest, len(COLOURS))
    return shape, colour, size


def scene_attributes(scenes: Sequence[Scene]) -> NDArray[np.int8]:
    """Attributes ``(N, 9, 3)``: shape, colour and size index of each cell, -1 in all three where the cell is empty."""
    table = np.full((NUM_CODES, 3), -1, dtype=np.int8)
    table[1:] = [decode(code) for code in range(1, NUM_CODES)]
    return table[np.asarray(scenes, dtype=np.int64).reshape(-1, NUM_CELLS)]
