"""Query gate and layer-aware decay inside the gated transformer of BoseungJeong/AVIGATE-CVPR2025.

Upstream's repository lacks modules that it imports, so its scripts cannot be started; the patch changes
``modules/module_cross.py`` alone, and whoever builds a ``Transformer_Gate`` extends it:

>>> extend(model.transformerClip, query_gate="scalar", layer_decay="fixed")      # before the optimizer is made
>>> with fusion_context(text=tokens, text_mask=mask):                            # (B, N, D), (B, N)
...     fused = model.transformerClip(frames, audio)

Parameter names are those of the host here (``gatefuse_plugins.hosts.avigate``). With a query gate the frames of a video
depend on the text beside it: score every text with every video, or the scores tell which belong together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.gates.query_gate import QueryGate
from gatefuse_plugins.hosts.avigate.decay import LayerDecay
from gatefuse_plugins.hosts.avigate.options import FusionOptions
from gatefuse_plugins.injection.context import GIVEN


def extend(
    transformer: nn.Module,
    query_gate: str = "off",
    layer_decay: str = "off",
    query_gate_scale: bool = False,
    decay_ffn: bool = False,
) -> None:
    """Add gates to every block of a patched ``Transformer_Gate``, in place. Options as in :class:`FusionOptions`.

    Raises:
        ConfigError: an unknown option, ``query_gate="headwise"``, or a transformer that is not patched or extended
            before.
    """
    options = FusionOptions(
        query_gate=query_gate, layer_decay=layer_decay, query_gate_scale=query_gate_scale, decay_ffn=decay_ffn
    )
    if query_gate == "headwise":
        raise ConfigError("query_gate='headwise': upstream's block has one query for all heads; expected 'scalar'")
    blocks = list(transformer.resblocks)
    for block in blocks:
        held = [getattr(block, name, block) for name in ("query_gate", "attn_decay", "ff_decay")]
        if any(value is block for value in held):
            raise ConfigError(f"{type(block).__name__} is not patched: run tools/patch_upstream.py apply")
        if any(value is not None for value in held):
            raise ConfigError(f"{type(transformer).__name__} is extended already")
    like = next(transformer.parameters())
    for layer, block in enumerate(blocks):
        if options.query_gate != "off":
            block.query_gate = QueryGate(transformer.width, None, layer, options.query_gate_scale)
        if options.layer_decay != "off":
            learnable = options.layer_decay == "learnable"
            block.attn_decay = LayerDecay(layer, len(blocks), learnable, "attention")
            block.ff_decay = LayerDecay(layer, len(blocks), learnable, "ffn") if options.decay_ffn else None
        block.to(like.device)


def gated_query(gate: QueryGate, frames: Tensor, audio: Tensor) -> Tensor:
    """The query of the audio cross-attention, before its normalisation: ``w * frames + (1 - w) * text``.

    Without a text in the :func:`~gatefuse_plugins.injection.fusion_context` it is the frames (the text-free pass).

    Args:
        frames: (L, B, D), as upstream lays them out; likewise ``audio`` (Q, B, D).

    Raises:
        DataError: the text is not (B, N, D).
    """
    text = GIVEN.get("text")
    if text is None:
        return frames
    if text.dim() != 3 or text.shape[0] != frames.shape[1] or text.shape[2] != frames.shape[2]:
        raise DataError(
            f"fusion_context text has shape {tuple(text.shape)}; expected (batch {frames.shape[1]}, tokens,"
            f" {frames.shape[2]}), one text a video"
        )
    mask = GIVEN.get("text_mask")
    mask = torch.ones(text.shape[:2], dtype=torch.bool, device=text.device) if mask is None else mask.bool()
    words = masked_mean(text, mask)
    weight = gate(frames.mean(dim=0), audio.mean(dim=0), words).transpose(0, 1)
    return weight * frames + (1 - weight) * words
