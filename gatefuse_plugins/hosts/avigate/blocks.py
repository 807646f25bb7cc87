"""One gated fusion block: gates, gated cross-attention, gated FFN, self-attention, FFN (AVIGATE, section 3.3).

Upstream: ``ResidualAttentionBlock_Gate`` in ``modules/module_cross.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.gates.query_gate import EvidenceGate, QueryGate, tanh_evidence_gate
from gatefuse_plugins.hosts.avigate.decay import LayerDecay
from gatefuse_plugins.hosts.avigate.layers import Attention, AttentionPool, MeanPool, feed_forward, layer_norm
from gatefuse_plugins.hosts.avigate.options import FusionOptions
from gatefuse_plugins.hosts.avigate.rows import Rows


@dataclass(frozen=True)
class AudioState(Rows):
    """What a block needs of the audio and computes once a video, whatever the number of texts.

    Attributes:
        keys: (V, H, Q, D / H); likewise ``values``.
        present: (V,) False = no audio.
        attention: (V, D / 2) share of the attention gate's hidden layer; likewise ``ffn`` and ``query``.
    """

    keys: Tensor
    values: Tensor
    present: Tensor
    attention: Tensor | None
    ffn: Tensor | None
    query: Tensor | None


@dataclass(frozen=True)
class TextState(Rows):
    """What a block needs of the text and computes once a text, whatever the number of videos.

    Attributes:
        mean: (T, D) masked mean of the tokens.
        tokens: (T, N, D), only for alignment by attention; likewise ``mask`` (T, N).
        attention: (T, D / 2) share of the attention gate's hidden layer; likewise ``ffn`` and ``query``.
    """

    mean: Tensor
    tokens: Tensor | None
    mask: Tensor | None
    attention: Tensor | None
    ffn: Tensor | None
    query: Tensor | None


def _part(gate: EvidenceGate | None, stream: str, pooled: Tensor) -> Tensor | None:
    return gate.part(stream, pooled) if gate is not None and stream in gate.streams else None


class GatedFusionBlock(nn.Module):
    """Video frames attend to audio, as far as the gates let them.

    Args:
        dim: width D.
        num_heads: H.
        layer: 0-based index l.
        num_layers: L, for the decay.
        options: see :class:`FusionOptions`.
    """

    def __init__(self, dim: int, num_heads: int, layer: int, num_layers: int, options: FusionOptions) -> None:
        super().__init__()
        self.options = options
        self.attn = Attention(dim, num_heads)
        self.ln_1 = layer_norm(dim)
        self.mlp = feed_forward(dim)
        self.ln_2 = layer_norm(dim)
        self.cross_attn = Attention(dim, num_heads, options.attention_temperature)
        self.cross_ff = feed_forward(dim, "cross", bias=False)
        self.ln_3 = layer_norm(dim)
        self.ln_4 = layer_norm(dim)
        self.attn_gate = self.ff_gate = self.query_gate = self.attn_decay = self.ff_decay = None
        if options.gating:
            self.attn_gate = tanh_evidence_gate(dim, "ag", "attention", layer, options.text_gates)
            self.ff_gate = tanh_evidence_gate(dim, "fg", "ffn", layer, options.text_gates)
        if options.query_gate != "off":
            heads = num_heads if options.query_gate == "headwise" else None
            self.query_gate = QueryGate(dim, heads, layer, options.query_gate_scale)
        if options.layer_decay != "off":
            learnable = options.layer_decay == "learnable"
            self.attn_decay = LayerDecay(layer, num_layers, learnable, "attention")
            self.ff_decay = LayerDecay(layer, num_layers, learnable, "ffn") if options.decay_ffn else None
        pool = AttentionPool if options.gate_pooling == "attention" else lambda _: MeanPool()
        self.video_pool, self.audio_pool = pool(dim), pool(dim)
        self.text_pool = pool(dim) if options.text_conditioned else None

    def _gates(self) -> tuple[EvidenceGate | None, EvidenceGate | None, QueryGate | None]:
        return self.attn_gate, self.ff_gate, self.query_gate

    def audio_state(self, audio: Tensor, present: Tensor) -> AudioState:
        """``audio`` (V, Q, D), ``present`` (V,) -> the share of the work that depends on nothing else."""
        keys, values = self.cross_attn.keys_values(audio)
        pooled = self.audio_pool(audio)
        return AudioState(keys, values, present, *(_part(gate, "audio", pooled) for gate in self._gates()))

    def text_state(self, tokens: Tensor, mask: Tensor) -> TextState:
        """``tokens`` (T, N, D), ``mask`` (T, N) -> the share of the work that depends on nothing else."""
        pooled = cast(nn.Module, self.text_pool)(tokens, mask)
        kept = (tokens, mask) if self.options.text_alignment == "attention" else (None, None)
        return TextState(masked_mean(tokens, mask), *kept, *(_part(gate, "text", pooled) for gate in self._gates()))

    def forward(self, x: Tensor, audio: AudioState, text: TextState | None, mask: Tensor | None) -> Tensor:
        """Fuse.

        Args:
            x: (B, L, D) frames.
            audio: states of the same B rows.
            text: states of the same B rows; ``None`` is the text-free pass: query gates stay at 1, the text part of
                the other gates' evidence is 0.
            mask: (B, L), True = valid, at least one a row; ``None`` treats padding as frames.
        """
        pooled = self.video_pool(x, mask)
        attention = self._value(self.attn_gate, self.attn_decay, "attention", pooled, audio, text)
        ffn = self._value(self.ff_gate, self.ff_decay, "ffn", pooled, audio, text)
        x = torch.addcmul(x, self._read_audio(x, pooled, audio, text), attention)
        x = torch.addcmul(x, self.cross_ff(self.ln_4(x)), ffn)
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))

    def _value(
        self,
        gate: EvidenceGate | None,
        decay: LayerDecay | None,
        name: str,
        pooled: Tensor,
        audio: AudioState,
        text: TextState | None,
    ) -> Tensor:
        """Weight (B, 1, 1) of a branch; 0 without audio."""
        if gate is None:
            return audio.present[:, None, None].to(pooled.dtype)
        parts = (gate.part("video", pooled), getattr(audio, name), getattr(text, name) if text is not None else None)
        value = gate.from_parts(parts, audio.present)
        return value if decay is None else decay(value, audio.present[:, None])

    def _read_audio(self, x: Tensor, pooled: Tensor, audio: AudioState, text: TextState | None) -> Tensor:
        """What the query reads from the audio, (B, L, D)."""
        cross, gate = self.cross_attn, self.query_gate
        if gate is None or text is None:
            return cross.merge(cross.read(cross.queries(self.ln_3(x)), audio.keys, audio.values))
        weight = gate.from_parts((gate.part("video", pooled), audio.query, text.query), audio.present)
        aligned = self._align(x, text)
        if self.options.dual_path:
            by_video = cross.read(cross.queries(self.ln_3(x)), audio.keys, audio.values)
            by_text = cross.read(cross.queries(self.ln_3(aligned)), audio.keys, audio.values)
            weight = weight if gate.headwise else weight[:, None]
            return cross.merge(torch.lerp(by_text.expand_as(by_video), by_video, weight))
        if gate.headwise:  # one query a head, each projected by that head's slice alone: no more multiplications
            x, aligned = x[:, None], aligned[:, None]
        query = self.ln_3(weight * x + (1 - weight) * aligned)
        return cross.merge(cross.read(cross.queries(query), audio.keys, audio.values))

    def _align(self, x: Tensor, text: TextState) -> Tensor:
        """The text beside each frame: (B, 1, D), or (B, L, D) where frames choose tokens."""
        if text.tokens is None or text.mask is None:
            return text.mean[:, None, :]
        keep = text.mask | ~text.mask.any(dim=1, keepdim=True)  # a text without tokens is 0 everywhere already
        logits = (x @ text.tokens.transpose(1, 2)) * x.shape[-1] ** -0.5
        return logits.masked_fill(~keep[:, None, :], float("-inf")).softmax(dim=-1) @ text.tokens
