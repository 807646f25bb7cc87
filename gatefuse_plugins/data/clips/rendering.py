"""Looks to frames: a coloured shape that moves over a dark background."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gatefuse_plugins.data.clips.vocabulary import COLOUR_NAMES, COLOURS, MOTIONS, SHAPES, Look

_RADIUS = (0.17, 0.24)  # of the frame's side
_AMPLITUDE = 0.26
_SHARPNESS = 1.0  # pixels over which an edge fades
_NOISE = 6.0  # standard deviation of the background, of 255


def render_frames(look: Look, num_frames: int, image_size: int, rng: Generator) -> NDArray[np.uint8]:
    """Frames ``(num_frames, image_size, image_size, 3)``; place, size, phase and background noise come from ``rng``."""
    radius, phase = rng.uniform(*_RADIUS), rng.uniform(0, 2 * np.pi)
    swing = _AMPLITUDE * np.sin(2 * np.pi * np.arange(num_frames) / num_frames + phase)
    centre = np.tile(rng.uniform(0.4, 0.6, size=2), (num_frames, 1))  # x, y
    if MOTIONS[look.motion] == "sideways":
        centre[:, 0] += swing
    elif MOTIONS[look.motion] == "up and down":
        centre[:, 1] += swing
    axis = (np.arange(image_size) + 0.5) / image_size
    x = (axis[None, None, :] - centre[:, 0, None, None]) / radius
    y = (axis[None, :, None] - centre[:, 1, None, None]) / radius
    # a signed distance in pixels gives smooth edges without a drawing library
    opacity = np.clip(0.5 - _signed_distance(SHAPES[look.shape], x, y) * radius * image_size / _SHARPNESS, 0, 1)
    background = rng.uniform(20, 60) + _NOISE * rng.standard_normal((num_frames, image_size, image_size))
    colour = np.asarray(COLOURS[COLOUR_NAMES[look.colour]]) * rng.uniform(0.9, 1.05)
    frames = opacity[..., None] * colour + (1 - opacity[..., None]) * background[..., None]
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def _signed_distance(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[Any]:
    """Below 0 inside the shape, in units of its radius (y downwards)."""
    distance = np.hypot(x, y)
    if shape == "circle":
        return distance - 1
    if shape == "ring":
        return abs(distance - 0.75) - 0.25
    if shape == "square":
        return np.maximum(abs(x), abs(y)) - 0.85
    if shape == "triangle":
        return np.maximum(y - 0.85, (2 * abs(x) - 0.95 - y) / np.sqrt(5))
    arms = np.minimum(abs(x), abs(y)) - 0.3
    return np.maximum(arms, np.maximum(abs(x), abs(y)) - 0.95)  # cross
