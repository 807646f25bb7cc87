"""How much is scored at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos

if TYPE_CHECKING:
    from gatefuse_plugins.hosts.avigate.network import AVIGATENetwork

MAX_BYTES = 1 << 28
"""Default bound on temporaries; beyond some hundred pairs at a time nothing gets faster."""
CPU_MAX_BYTES = 1 << 25
"""The same on the CPU, where larger chunks leave the caches: at width 64 these are a quarter faster."""


def bytes_at_a_time(max_bytes: int | None, device: torch.device) -> int:
    """``max_bytes``, or for ``None`` what is fastest on ``device``; with autograd smaller chunks cost recomputation."""
    if max_bytes is not None:
        return max_bytes
    return CPU_MAX_BYTES if device.type == "cpu" and not torch.is_grad_enabled() else MAX_BYTES


def pairs_within(
    network: AVIGATENetwork, videos: EncodedVideos, texts: EncodedTexts | None, max_bytes: int | None
) -> int:
    """How many pairs may be fused at a time so that their temporaries stay within ``max_bytes``; at least 1.

    Live at once are about 10 tensors of a pair's frames (input, normalised, FFN hidden layer of 4, projections), with
    autograd about 46 a layer, and one more a head where every head has a query of its own. All layers' keys, values
    and text states are there from the start.
    """
    grad, blocks = torch.is_grad_enabled(), len(network.transformerClip.resblocks)
    tensors = 46 if grad else 10
    if network.transformerClip.options.query_gate == "headwise":
        tensors += (4 if grad else 2) * network.num_heads
    numbers = (blocks if grad else 1) * tensors * videos.frames.shape[1:].numel()
    numbers += blocks * (6 if grad else 2) * videos.audio.shape[1:].numel()
    if texts is not None:
        numbers += blocks * 2 * texts.tokens.shape[1:].numel()
    most = bytes_at_a_time(max_bytes, videos.frames.device)
    return max(1, most // (numbers * videos.frames.element_size()))


def chunks(count: int, step: int) -> Iterator[slice]:
    """Slices of ``step`` places, the last one shorter, that cover ``count``."""
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
