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


def pairs_within(network: AVIGATENetwork, videos: EncodedVideos, texts: EncodedTexts | None, max_bytes: int) -> int:
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
    return max(1, max_bytes // (numbers * videos.frames.element_size()))


def chunks(count: int, step: int) -> Iterator[slice]:
    """Slices of ``step`` places, the last one shorter, that cover ``count``."""
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
