"""Reading pictures, and finding those that are not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, ImageFile

from gatefuse_plugins.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Open and fully decode the picture at ``path``, in the colour mode of the file.

    Decoding happens here, not lazily, so that a truncated file is named by the :class:`DataError` it causes.
    """
    try:
        with Image.open(path) as image, _whole_files_only():
            image.load()
            return image.copy()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image") from error
    # Pillow reports broken files through all of these, depending on the format and on what is broken
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable image ({error}); fetch the file again") from error


@contextlib.contextmanager
def _whole_files_only() -> Iterator[None]:
    """Undo, for one decoding, that importing lavis lets Pillow fill truncated files with grey for the whole process."""
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def missing_files(paths: Iterable[Path]) -> list[Path]:
    """Those of ``paths`` that do not exist, in order.

    Folders are listed once each instead of asking for every file, which on network file systems is far quicker.
    """
    listings: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        folder = path.parent
        if folder not in listings:
            listings[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        if path.name not in listings[folder]:
            missing.append(path)
    return missing
