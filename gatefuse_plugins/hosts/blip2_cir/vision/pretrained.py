"""EVA ViT-g and CLIP ViT-L of BLIP-2, with weights from a local file where given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import CheckpointError, ConfigError, suggestion
from gatefuse_plugins.hosts.blip2_cir.vision.clip import ClipVisionTransformer
from gatefuse_plugins.hosts.blip2_cir.vision.eva import EvaVisionTransformer
from gatefuse_plugins.hosts.blip2_cir.weights import locate_file
from gatefuse_plugins.registry import MODELS

_ROOT = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/"
EVA_VIT_G_URL = _ROOT + "eva_vit_g.pth"
CLIP_VIT_L_URL = _ROOT + "clip_vit_L.pth"
PATCH_SIZE = 14
PRECISIONS = ("fp16", "fp32")


def _check_precision(precision: str) -> None:
    """Before a file of gigabytes is fetched and read."""
    if precision not in PRECISIONS:
        raise ConfigError(f"model.vision.precision {precision!r} is unknown{suggestion(precision, PRECISIONS)}")


def _finish(vit: nn.Module, num_features: int, image_size: int, precision: str) -> nn.Module:
    """Freeze, and set the attributes that every vision encoder has; parameter names stay upstream's."""
    vit.num_features = num_features
    vit.image_size = image_size
    vit.num_tokens = (image_size // PATCH_SIZE) ** 2 + 1
    vit.precision = precision
    return vit.requires_grad_(False).eval()


def resize_positions(positions: Tensor, tokens: int, align_corners: bool) -> Tensor:
    """Position embeddings (1 + n * n, D) for ``tokens`` = 1 + m * m tokens, the patches' bicubically interpolated."""
    if len(positions) == tokens:
        return positions
    old, new = round((len(positions) - 1) ** 0.5), round((tokens - 1) ** 0.5)
    grid = positions[1:].float().unflatten(0, (old, old)).permute(2, 0, 1)[None]
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=align_corners)
    return torch.cat([positions[:1].float(), grid[0].flatten(1).T])


def _load(vit: nn.Module, path: Path, positions: str, align_corners: bool) -> None:
    where = f"model.vision.weights={str(path)!r}"
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{where} cannot be read: {error}") from error
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise CheckpointError(f"{where} holds a {type(stored).__name__}, expected tensors by name")
    own = vit.state_dict()
    if missing := sorted(set(own) - set(stored)):
        raise CheckpointError(f"{where} lacks {len(missing)} of the encoder's weights: {missing[:5]} ...")
    # the published files also hold the last block and head, unused here
    state = {name: stored[name] for name in own}
    strange = [name for name, value in state.items() if name != positions and value.shape != own[name].shape]
    if strange:
        shapes = f"{strange[0]} is {tuple(state[strange[0]].shape)}, expected {tuple(own[strange[0]].shape)}"
        raise CheckpointError(f"{where} has {len(strange)} weights of other shapes than the encoder's: {shapes}")
    width, tokens = own[positions].shape[-1], own[positions].shape[-2]
    try:
        resized = resize_positions(state[positions].reshape(-1, width), tokens, align_corners)
    except RuntimeError as error:  # another width, or patches that are no square
        shape = tuple(state[positions].shape)
        raise CheckpointError(f"{where}: {positions} is {shape}, expected 1 + n * n tokens of {width}") from error
    vit.load_state_dict({**state, positions: resized.reshape(own[positions].shape)})


@MODELS.register_module(name="EvaViTG")
def build_eva_vit_g(image_size: int = 224, weights: str | None = None, precision: str = "fp16") -> nn.Module:
    """EVA-CLIP ViT-g/14 without its last block, 1408 wide, 257 tokens at 224 px (BLIP-2, section 3; LAVIS eva_vit.py).

    Args:
        image_size: side of the images in pixels.
        weights: local ``eva_vit_g.pth``; ``None`` takes the download cache or the network.
        precision: ``fp16`` (on accelerators) or ``fp32``.

    Raises:
        ConfigError: ``precision`` is unknown.
        WeightsUnavailableError: no weights; the message says which file to put where.
        CheckpointError: the file cannot be read, or lacks some of the encoder's weights, or has them in other shapes.
    """
    _check_precision(precision)
    path = locate_file(weights, EVA_VIT_G_URL, "model.vision.weights")
    vit = EvaVisionTransformer(image_size, PATCH_SIZE)
    _load(vit, path, "pos_embed", align_corners=False)
    return _finish(vit, 1408, image_size, precision)


@MODELS.register_module(name="ClipViTL")
def build_clip_vit_l(
    image_size: int = 224, weights: str | None = None, precision: str = "fp16", blocks: int = 21
) -> nn.Module:
    """CLIP ViT-L/14 without its last blocks, 1024 wide (LAVIS clip_vit.py); arguments as :func:`build_eva_vit_g`.

    ``blocks``: 21 in stock LAVIS, which BLIP-2's released weights were trained on; SPRC's edition keeps 23, so its
    ViT-L checkpoints need ``blocks=23``.
    """
    _check_precision(precision)
    path = locate_file(weights, CLIP_VIT_L_URL, "model.vision.weights")
    vit = ClipVisionTransformer(image_size, PATCH_SIZE, depth=blocks)
    _load(vit, path, "positional_embedding", align_corners=True)  # the two interpolate differently upstream
    return _finish(vit, 1024, image_size, precision)
