"""Reads an embedded set back as arrays, for pre-training on its attributes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gatefuse_plugins.data.scenes.store import ATTRIBUTES
from gatefuse_plugins.errors import DataError


def attributes_file(root: Path) -> Path:
    """The attributes of the embedded set at ``root``; raises :class:`DataError` where there is none."""
    path = root / ATTRIBUTES
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected an embedded set as make_cirr_scenes writes it")
    return path


def read_training_images(root: Path) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Images ``(N, S, S, 3)`` of the training split and their attributes ``(N, 9, 3)``, in either layout.

    Raises:
        DataError: ``root`` holds no embedded set, or an image is missing or unreadable.
    """
    with np.load(attributes_file(root)) as stored:
        paths, attributes = stored["paths"], stored["attributes"]
    chosen = [index for index, path in enumerate(paths) if path.startswith("train/") or "-train-" in path]
    images = [_read(root / str(paths[index])) for index in chosen]
    return np.stack(images), attributes[chosen]


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"{path}: unreadable image ({error}); delete the set to have it made anew") from error
