"""AVIGATE's gated fusion transformer (CVPR 2025, section 3.3); upstream ``Transformer_Gate``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.avigate.blocks import AudioState, GatedFusionBlock, TextState
from gatefuse_plugins.hosts.avigate.options import FusionOptions


class GatedFusionTransformer(nn.Module):
    """``num_layers`` blocks of :class:`GatedFusionBlock`.

    Work that does not depend on the other stream is done once: :meth:`audio_states` a video, :meth:`text_states` a
    text. :meth:`run` then pairs their rows in any way.

    Args:
        dim: width D.
        num_heads: attention heads H.
        num_layers: L, at least 1.
        options: see :class:`FusionOptions`.
    """

    def __init__(self, dim: int, num_heads: int, num_layers: int, options: FusionOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or FusionOptions()
        self.resblocks = nn.ModuleList(
            GatedFusionBlock(dim, num_heads, layer, num_layers, options) for layer in range(num_layers)
        )

    def audio_states(self, audio: Tensor, present: Tensor) -> list[AudioState]:
        """``audio`` (V, Q, D) and ``present`` (V,) -> a state for each block."""
        return [block.audio_state(audio, present) for block in self.resblocks]

    def text_states(self, tokens: Tensor, mask: Tensor) -> list[TextState]:
        """``tokens`` (T, N, D), 0 at padding, and ``mask`` (T, N) -> a state for each block.

        Raises:
            ConfigError: no gate of this transformer sees the text.
        """
        if not self.options.text_conditioned:
            raise ConfigError("this fusion does not take text: query_gate is 'off' and text_gates is False")
        return [block.text_state(tokens, mask) for block in self.resblocks]

    def run(
        self,
        x: Tensor,
        audio: Sequence[AudioState],
        text: Sequence[TextState] | None = None,
        mask: Tensor | None = None,
        audio_rows: Tensor | None = None,
        text_rows: Tensor | None = None,
    ) -> Tensor:
        """Fuse P pairs.

        Args:
            x: (P, L, D) frames.
            audio: states of V videos; ``audio_rows`` (P,) says which belongs to each pair, ``None`` is row by row.
            text: likewise of T texts, with ``text_rows``; ``None`` is the text-free pass.
            mask: (P, L), True = a frame.

        Returns:
            (P, L, D)
        """
        mask = mask if self.options.mask_padding else None
        for layer, block in enumerate(self.resblocks):
            # one layer's rows at a time: copies for all layers would cost as much as the activations
            heard = audio[layer] if audio_rows is None else audio[layer][audio_rows]
            read = None if text is None else (text[layer] if text_rows is None else text[layer][text_rows])
            x = block(x, heard, read, mask)
        return x

    def forward(
        self,
        x: Tensor,
        audio: Tensor,
        text: Tensor | None = None,
        x_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
        has_audio: Tensor | None = None,
    ) -> Tensor:
        """Fuse B videos, each with its own audio and text.

        Args:
            x: (B, L, D) frames.
            audio: (B, Q, D), of the resampler.
            text: (B, N, D) or ``None`` for the text-free pass.
            x_mask: (B, L), True = valid. Likewise ``text_mask`` (B, N).
            has_audio: (B,) False = gates at their neutral value.
        """
        if has_audio is None:
            has_audio = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if x_mask is not None and self.options.mask_padding:
            x = x.masked_fill(~x_mask[..., None], 0.0)
        states = None
        if text is not None:
            if text_mask is None:
                text_mask = torch.ones(text.shape[:2], dtype=torch.bool, device=text.device)
            states = self.text_states(text.masked_fill(~text_mask[..., None], 0.0), text_mask)
        return self.run(x, self.audio_states(audio, has_audio), states, x_mask)
