"""A data set's gallery through a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from gatefuse_plugins.data.base import ComposedRetrievalDataset
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.retrieval.kinds import kind_of
from gatefuse_plugins.retrieval.vectors import GalleryVectors


@torch.no_grad()
def encode_gallery(
    model: nn.Module, dataset: Any, batch_size: int = 32, num_workers: int = 0, progress: Progress | None = None
) -> tuple[list[str], GalleryVectors]:
    """Encode every distinct item of ``dataset``'s gallery, in order.

    Args:
        model: a host of :func:`kind_of`, with mmengine's ``test_step``; put into eval mode.
        dataset: of role ``eval``: its first ``len(metainfo['gallery'])`` items are the gallery.
        batch_size: items encoded at a time.
        num_workers: processes that read the items.
        progress: called with (items done, items).

    Returns:
        V names, each once, and their vectors in float32.

    Raises:
        ConfigError: the model cannot be indexed, or the data set has another role.
        DataError: items cannot be read.
    """
    kind = kind_of(model)
    if getattr(dataset, "role", None) != "eval":
        raise ConfigError(f"test_dataloader.dataset: {type(dataset).__name__} has no gallery; expected role='eval'")
    gallery = dataset.metainfo["gallery"]
    # FashionIQ lists a picture once for each of its categories
    rows = list({name: row for row, name in reversed(list(enumerate(gallery)))}.values())[::-1]
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    loader = DataLoader(dataset, batch_size=None, sampler=batches, num_workers=num_workers)
    model.eval()
    predictions: list[Any] = []
    for batch, asked in zip(loader, batches, strict=True):
        (found,) = model.test_step(batch)
        assert found[kind.index_key].tolist() == asked, "the data set gave other items than it was asked for"
        predictions.append({key: value.cpu() for key, value in found.items()})
        if progress is not None:
            progress(asked[-1] + 1, len(gallery))
    return [gallery[row] for row in rows], kind.gather(predictions)


def item_paths(dataset: Any, names: Sequence[str]) -> list[str | None]:
    """Absolute file (or folder of frames) of each item, ``None`` where the data set knows none."""
    known = dataset.image_paths if isinstance(dataset, ComposedRetrievalDataset) else dataset.clips.videos
    return [str(known[name].resolve()) if name in known else None for name in names]
