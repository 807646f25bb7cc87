"""Pictures of a composed-retrieval data set as a model sees them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gatefuse_plugins.data.base import ComposedRetrievalDataset
from gatefuse_plugins.data.images import read_image
from gatefuse_plugins.data.transforms import CLIP_MEAN, CLIP_STD, ClipPreprocess, TransformPipeline

Picture = NDArray[np.uint8]
"""(h, w, 3), RGB."""


def seen_picture(dataset: ComposedRetrievalDataset, row: int, side: int | None = None) -> Picture | None:
    """Gallery picture ``row`` after the data set's transform, so that a grid of tokens covers exactly what is shown.

    A data set without a transform gives the picture as it lies on disk. ``None`` where the file is missing, as beside a
    feature cache that was moved alone.

    Args:
        side: longest side in pixels; larger pictures are scaled down.

    Raises:
        DataError: the file cannot be decoded.
    """
    path = dataset.annotations.paths[row]
    if not path.is_file():
        return None
    image = read_image(path)
    if dataset.transform is not None:
        image = Image.fromarray(displayable(dataset.transform(image), _normalises(dataset.transform)))
    image = image.convert("RGB")
    if side is not None:
        image.thumbnail((side, side))
    return np.asarray(image)


def displayable(pixels: Tensor, clip_normalised: bool) -> Picture:
    """Bytes of a transformed picture (3, h, w): CLIP's normalisation undone, or else lowest to highest value."""
    if clip_normalised:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        pixels = pixels * std + mean
    else:
        low, high = pixels.amin(), pixels.amax()
        pixels = (pixels - low) / (high - low).clamp(min=torch.finfo(torch.float32).eps)
    return pixels.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def _normalises(transform: object) -> bool:
    steps = transform.steps if isinstance(transform, TransformPipeline) else [transform]
    return bool(steps) and isinstance(steps[-1], ClipPreprocess)
