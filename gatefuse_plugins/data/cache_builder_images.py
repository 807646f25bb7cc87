"""Image files on their way into a feature cache: hashed by content, decoded in batches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.images import read_image
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import file_digest, read_json, write_json

Item = tuple[str, Path, str]  # name, file, digest of the file's bytes


def hash_images(images: Mapping[str, Path], memo_file: Path, faults: Faults) -> dict[str, str]:
    """Name -> SHA-256 of the image file's bytes; missing files become faults.

    ``memo_file`` remembers ``[size, mtime in ns, digest]`` per file, so that unchanged files are not read again.
    """
    memo: dict[str, list] = {}
    if memo_file.exists():
        with contextlib.suppress(DataError):  # a memo only saves time: a broken one is made again
            memo = read_json(memo_file)
    digests, changed = {}, False
    for name, path in images.items():
        try:
            status = path.stat()
            location = str(path.resolve())
            known = memo.get(location)
            if known is None or known[:2] != [status.st_size, status.st_mtime_ns]:
                known = memo[location] = [status.st_size, status.st_mtime_ns, file_digest(path)]
                changed = True
        except OSError as error:
            faults.add("missing or unreadable image files", f"{path} ({error.strerror})")
            continue
        digests[name] = known[2]
    if changed:
        write_json(memo_file, memo, indent=None)
    return digests


@dataclass
class ImageBatch:
    """Pictures that could be read, as ``pixels`` (n, 3, S, S) with their names and digests, and the others' errors."""

    names: list[str]
    digests: list[str]
    pixels: Tensor | None
    errors: list[str]


class _ImageFiles(Dataset[ImageBatch]):
    """Item i is the i-th batch. Errors are returned, not raised, so that one bad file does not end the pass."""

    def __init__(self, items: Sequence[Item], transform: Callable[[Image.Image], Tensor], batch_size: int) -> None:
        self.items, self.transform, self.batch_size = items, transform, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.items) / self.batch_size)

    def __getitem__(self, index: int) -> ImageBatch:
        batch, pixels = ImageBatch([], [], None, []), []
        for name, path, digest in self.items[index * self.batch_size : (index + 1) * self.batch_size]:
            try:
                pixels.append(self.transform(read_image(path)))
            except DataError as error:
                batch.errors.append(str(error))
                continue
            batch.names.append(name)
            batch.digests.append(digest)
        batch.pixels = torch.stack(pixels) if pixels else None
        return batch


def image_batches(
    items: Sequence[Item], transform: Callable[[Image.Image], Tensor], batch_size: int, num_workers: int
) -> Iterator[ImageBatch]:
    """Batches of transformed pictures in the order of ``items``, decoded by ``num_workers`` processes (0: here)."""
    return iter(DataLoader(_ImageFiles(items, transform, batch_size), batch_size=None, num_workers=num_workers))
