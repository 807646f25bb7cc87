"""Scenes to pixels: every object is drawn once as a sprite, a scene is a lookup."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gatefuse_plugins.data.scenes.vocabulary import (
    COLOURS,
    EMPTY,
    GRID,
    NUM_CELLS,
    NUM_CODES,
    SHAPES,
    Scene,
    decode,
)

_BACKGROUND = (235, 235, 235)
_RADII = (0.26, 0.46)  # small and large, as a fraction of the cell
_SUPERSAMPLING = 8  # samples a pixel side: smooth edges without a drawing library's version-dependent antialiasing


def render(scenes: Sequence[Scene], image_size: int = 48) -> NDArray[np.uint8]:
    """Images ``(N, image_size, image_size, 3)`` of ``scenes``; ``image_size`` is a multiple of 3."""
    cell = image_size // GRID
    codes = np.asarray(scenes, dtype=np.int64).reshape(-1, NUM_CELLS)
    tiles = _sprites(cell)[codes].reshape(-1, GRID, GRID, cell, cell, 3)
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(-1, image_size, image_size, 3)


def save_png(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Write one image ``(S, S, 3)``; the lowest compression level, since flat colours pack well at any."""
    Image.fromarray(image).save(Path(path), format="PNG", compress_level=1)


@functools.lru_cache(maxsize=4)
def _sprites(cell: int) -> NDArray[np.uint8]:
    """Sprites ``(NUM_CODES, cell, cell, 3)``; the first is the empty cell."""
    background = np.asarray(_BACKGROUND, dtype=np.float64)
    palette = np.asarray(list(COLOURS.values()), dtype=np.float64)
    sprites = np.empty((NUM_CODES, cell, cell, 3), dtype=np.uint8)
    sprites[EMPTY] = background
    coverage = [[_coverage(name, radius, cell) for radius in _RADII] for name in SHAPES]
    for code in range(1, NUM_CODES):
        shape, colour, size = decode(code)
        opacity = coverage[shape][size][..., None]
        sprites[code] = np.rint(opacity * palette[colour] + (1 - opacity) * background)
    sprites.setflags(write=False)
    return sprites


def _coverage(shape: str, radius: float, cell: int) -> NDArray[np.float64]:
    """The share of each pixel ``(cell, cell)`` that the shape covers, by supersampling."""
    side = cell * _SUPERSAMPLING
    axis = ((np.arange(side) + 0.5) / side - 0.5) / radius
    y, x = np.meshgrid(axis, axis, indexing="ij")
    inside = _inside(shape, x, y).astype(np.float64)
    return inside.reshape(cell, _SUPERSAMPLING, cell, _SUPERSAMPLING).mean(axis=(1, 3))


def _inside(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points, in units of the shape's radius (y downwards), belong to the shape."""
    distance = np.hypot(x, y)
    masks = {
        "circle": distance <= 1,
        "ring": (distance <= 1) & (distance >= 0.55),
        "square": np.maximum(abs(x), abs(y)) <= 0.85,
        "diamond": abs(x) + abs(y) <= 1,
        "triangle": (y <= 0.85) & (y >= 2 * abs(x) - 0.95),
        "cross": (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 0.95),
    }
    return masks[shape]
