"""Deterministic preprocessing of pictures: pad, then resize, crop and normalise as CLIP does.

Bit-equal to torchvision's ``Compose([pad, Resize(size, BICUBIC), CenterCrop(size), to RGB, ToTensor(), Normalize])``,
the pipeline of CLIP4Cir (Baldrati et al., 2022) and SPRC (``src/data_utils.py``), without needing torchvision.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.registry import TRANSFORMS

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def _pad_with_zeros(image: Image.Image, horizontal: int, vertical: int) -> Image.Image:
    bands = len(image.getbands())
    fill: Any = 0 if bands == 1 else (0,) * bands
    palette = image.getpalette() if image.mode == "P" else None
    padded = ImageOps.expand(image, border=(horizontal, vertical, horizontal, vertical), fill=fill)
    if palette is not None:  # the border is palette entry 0; expand may have renumbered the entries
        padded.putpalette(palette)
    return padded


@TRANSFORMS.register_module()
class SquarePad:
    """Pad the shorter side with zeros, half on each side, to make the picture square (to within one pixel)."""

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        side = max(width, height)
        return _pad_with_zeros(image, (side - width) // 2, (side - height) // 2)


@TRANSFORMS.register_module()
class TargetPad:
    """Pad the shorter side with zeros until the aspect ratio is ``target_ratio``; milder pictures stay as they are.

    Args:
        target_ratio: longer over shorter side, at least 1. CLIP4Cir and SPRC use 1.25.
    """

    def __init__(self, target_ratio: float = 1.25) -> None:
        if target_ratio < 1:
            raise ConfigError(f"TargetPad: target_ratio={target_ratio}, expected longer over shorter side, at least 1")
        self.target_ratio = target_ratio

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if max(width, height) / min(width, height) < self.target_ratio:
            return image
        side = max(width, height) / self.target_ratio
        return _pad_with_zeros(image, max(int((side - width) / 2), 0), max(int((side - height) / 2), 0))


@TRANSFORMS.register_module()
class ClipPreprocess:
    """Resize the shorter side to ``size`` (bicubic), crop the centre, and normalise by CLIP's mean and deviation.

    Returns a float32 tensor ``(3, size, size)``. Conversion to RGB follows the resize, as upstream: grey, palette
    and transparent pictures therefore give upstream's numbers too.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ConfigError(f"ClipPreprocess: size={size}, expected a number of pixels, at least 1")
        self.size = size
        self._mean = torch.tensor(CLIP_MEAN).view(3, 1, 1)
        self._std = torch.tensor(CLIP_STD).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> Tensor:
        width, height = image.size
        longer = int(self.size * max(width, height) / min(width, height))
        resized = (self.size, longer) if width <= height else (longer, self.size)
        if resized != image.size:
            image = image.resize(resized, Image.Resampling.BICUBIC)
        left = round((resized[0] - self.size) / 2)
        top = round((resized[1] - self.size) / 2)
        image = image.crop((left, top, left + self.size, top + self.size)).convert("RGB")
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        return pixels.sub_(self._mean).div_(self._std)


class TransformPipeline:
    """Transforms applied in order; picklable, so that DataLoader workers can be spawned."""

    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        self.steps = list(steps)

    def __call__(self, image: Image.Image) -> Tensor:
        value: Any = image
        for step in self.steps:
            value = step(value)
        return value


def _transform_class(cfg: Mapping[str, Any]) -> type:
    name = cfg.get("type")
    found = TRANSFORMS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(f"transform: unknown type {name!r}{suggestion(str(name), TRANSFORMS.module_dict)}")
    return found


def build_transform(cfgs: Sequence[Mapping[str, Any]]) -> TransformPipeline:
    """The pipeline that a list of transform configs describes; an unknown type raises :class:`ConfigError`."""
    steps = [_transform_class(cfg)(**{k: v for k, v in cfg.items() if k != "type"}) for cfg in cfgs]
    return TransformPipeline(steps)


def transform_key(cfgs: Sequence[Mapping[str, Any]]) -> str:
    """Canonical JSON of ``cfgs``: defaults filled in, scopes dropped; equal keys mean equal pixels."""
    canonical = []
    for cfg in cfgs:
        cls = _transform_class(cfg)
        bound = inspect.signature(cls).bind(**{k: v for k, v in cfg.items() if k != "type"})
        bound.apply_defaults()
        canonical.append({"type": cls.__name__, **bound.arguments})
    return json.dumps(canonical, sort_keys=True, separators=(",", ":"))
