from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gatefuse_plugins.data.transforms import CLIP_MEAN, CLIP_STD, build_transform, transform_key
from gatefuse_plugins.errors import ConfigError

TARGET_PAD = [{"type": "gatefuse.TargetPad"}, {"type": "gatefuse.ClipPreprocess", "size": 32}]
SQUARE_PAD = [{"type": "SquarePad"}, {"type": "ClipPreprocess", "size": 32}]


def upstream(pad, size: int):
    transforms = pytest.importorskip("torchvision.transforms")
    steps = [transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(size)]
    steps += [lambda image: image.convert("RGB"), transforms.ToTensor(), transforms.Normalize(CLIP_MEAN, CLIP_STD)]
    return transforms.Compose([pad, *steps])


def upstream_pad(ratio: float | None):
    functional = pytest.importorskip("torchvision.transforms.functional")

    def pad(image):
        width, height = image.size
        if ratio is not None and max(width, height) / min(width, height) < ratio:
            return image
        side = max(width, height) / (ratio or 1)
        border = [max(int((side - width) / 2), 0), max(int((side - height) / 2), 0)]
        return functional.pad(image, border * 2, 0, "constant")

    return pad


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1"])
@pytest.mark.parametrize("size", [(32, 32), (97, 41), (40, 95), (50, 45), (31, 200), (17, 13)])
def test_pipelines_are_bit_equal_to_torchvision(mode: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image = image.convert("RGB").convert(mode) if mode in "P1" else image.convert(mode)
    for cfgs, ratio in ((TARGET_PAD, 1.25), (SQUARE_PAD, None)):
        expected = upstream(upstream_pad(ratio), 32)(image)
        assert torch.equal(build_transform(cfgs)(image), expected)


def test_key_ignores_scope_and_spelt_out_defaults() -> None:
    spelt = [{"type": "TargetPad", "target_ratio": 1.25}, {"size": 32, "type": "ClipPreprocess"}]
    assert transform_key(spelt) == transform_key(TARGET_PAD)
    assert transform_key(SQUARE_PAD) != transform_key(TARGET_PAD)


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'TargetPad'"):
        build_transform([{"type": "TargtPad"}])
