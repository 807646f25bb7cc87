"""Small AVIGATE hosts and batches with fixed weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatefuse_plugins.hosts.avigate import AVIGATE, build_avigate

WIDTH, HEADS = 8, 2


def tiny_avigate(seed: int = 0, spread: float = 0.4, **options: Any) -> AVIGATE:
    """A host of width 8 whose weights are large enough that every part shows in the output."""
    sizes = {"width": WIDTH, "num_heads": HEADS, "num_query_tokens": 3, "resampler_layers": 1, "fusion_layers": 2}
    torch.manual_seed(seed)
    model = build_avigate(**{**sizes, "max_frames": 6, "fusion_mix": 0.5, **options})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.transformerClip.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return model


def tiny_batch(seed: int = 1, count: int = 4, frames: int = 5, tokens: int = 1, audio: int = 7) -> dict[str, Tensor]:
    """Video 1 has 3 frames, video 2 no audio, text 0 (of several tokens) one token less."""
    generator = torch.Generator().manual_seed(seed)

    def features(length: int) -> Tensor:
        return torch.randn(count, length, WIDTH, generator=generator)

    def mask(length: int) -> Tensor:
        return torch.ones(count, length, dtype=torch.bool)

    batch = {
        "video": features(frames),
        "video_mask": mask(frames),
        "audio": features(audio),
        "audio_mask": mask(audio),
        "text": features(tokens),
        "text_mask": mask(tokens),
    }
    if count > 2 and frames > 3:
        batch["video_mask"][1, 3:] = False
    if count > 2:
        batch["audio_mask"][2] = False
        batch["audio_mask"][0, 4:] = False
    if tokens > 1:
        batch["text_mask"][0, -1] = False
    return batch
