"""EVA ViT-g and CLIP ViT-L of BLIP-2, through lavis, with weights from a local file where given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gatefuse_plugins.errors import CheckpointError, WeightsUnavailableError
from gatefuse_plugins.hosts.blip2_cir.weights import locate_file
from gatefuse_plugins.registry import MODELS

_ROOT = "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/"
EVA_VIT_G_URL = _ROOT + "eva_vit_g.pth"
CLIP_VIT_L_URL = _ROOT + "clip_vit_L.pth"
PATCH_SIZE = 14
PRECISIONS = ("fp16", "fp32")


def _finish(vit: nn.Module, num_features: int, image_size: int, precision: str) -> nn.Module:
    """Freeze, and set the attributes that every vision encoder has; parameter names stay upstream's."""
    if precision not in PRECISIONS:
        raise ValueError(f"model.vision.precision {precision!r} is unknown; valid: {', '.join(PRECISIONS)}")
    vit.num_features = num_features
    vit.image_size = image_size
    vit.num_tokens = (image_size // PATCH_SIZE) ** 2 + 1
    vit.precision = precision
    return vit.requires_grad_(False).eval()


def _load(vit: nn.Module, path: Path, interpolate: Callable[[nn.Module, dict], None]) -> None:
    key = "model.vision.weights"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsUnavailableError(f"{key}={str(path)!r} cannot be read: {error}") from error
    interpolate(vit, state)
    missing = sorted(set(vit.state_dict()) - set(state))
    if missing:
        raise CheckpointError(f"{key}={str(path)!r} lacks {len(missing)} of the encoder's weights: {missing[:5]} ...")
    vit.load_state_dict(state, strict=False)  # the published files also hold the last block and head, unused here


@MODELS.register_module(name="EvaViTG")
def build_eva_vit_g(image_size: int = 224, weights: str | None = None, precision: str = "fp16") -> nn.Module:
    """EVA-CLIP ViT-g/14 without its last block, 1408 wide, 257 tokens at 224 px (BLIP-2, section 3; LAVIS eva_vit.py).

    Args:
        image_size: side of the images in pixels.
        weights: local ``eva_vit_g.pth``; ``None`` takes the download cache or the network.
        precision: ``fp16`` (on accelerators) or ``fp32``.

    Raises:
        WeightsUnavailableError: no weights; the message says which file to put where.
    """
    from lavis.models.eva_vit import VisionTransformer, interpolate_pos_embed

    path = locate_file(weights, EVA_VIT_G_URL, "model.vision.weights")
    options: dict[str, Any] = {"embed_dim": 1408, "depth": 39, "num_heads": 16, "mlp_ratio": 4.3637}
    vit = VisionTransformer(
        img_size=image_size,
        patch_size=PATCH_SIZE,
        qkv_bias=True,
        use_mean_pooling=False,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        **options,
    )
    _load(vit, path, interpolate_pos_embed)
    return _finish(vit, 1408, image_size, precision)


@MODELS.register_module(name="ClipViTL")
def build_clip_vit_l(
    image_size: int = 224, weights: str | None = None, precision: str = "fp16", blocks: int = 21
) -> nn.Module:
    """CLIP ViT-L/14 without its last blocks, 1024 wide (LAVIS clip_vit.py); arguments as :func:`build_eva_vit_g`.

    ``blocks``: 21 in stock LAVIS, which BLIP-2's released weights were trained on; SPRC's edition keeps 23, so its
    ViT-L checkpoints need ``blocks=23``.
    """
    from lavis.models.clip_vit import VisionTransformer, interpolate_pos_embed

    path = locate_file(weights, CLIP_VIT_L_URL, "model.vision.weights")
    options: dict[str, Any] = {"input_resolution": image_size, "patch_size": PATCH_SIZE, "width": 1024}
    vit = VisionTransformer(**options, layers=24, heads=16, use_grad_checkpointing=False)
    # the editions disagree on how many blocks ``layers`` gives; what is kept is stated here
    vit.transformer.resblocks = vit.transformer.resblocks[:blocks]
    _load(vit, path, interpolate_pos_embed)
    return _finish(vit, 1024, image_size, precision)
