"""AVIGATE custom fusion: time-aligned audio enters video through an attention gate and an FFN gate, layer by layer.

    e = [v | a]    g_mha, g_ffn = gates(e)
    z = v + g_mha * norm(out_proj(a_proj(norm1(a))))
    z = z + g_ffn * norm(ffn1(norm2(z)))             FiLM: z + (1 + g_ffn) * norm(ffn1(norm2(z))) + shift(e)
    z = z + self_attention(norm3(z))
    v' = z + ffn2(norm4(z))

sigmoid generation: g_mha = sigmoid((raw + bias) / temp) * scale, g_ffn = tanh(raw) * alpha, shift = tanh(raw) * beta;
tanh generation: g = tanh(raw), no norm on the two deltas. After the gated fusion block of AVIGATE (Jeong et al., CVPR
2025); the custom form for QD-DETR is QD-DETR-exp, ``qd_detr/avigate_custom.py`` (see ``avigate_custom_gates``).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.fusions.avigate_custom_gates import GateOptions, Shared
from gatefuse_plugins.fusions.avigate_custom_layer import AvigateCustomLayer
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.fusions.no_audio import NoAudio, check_aligned
from gatefuse_plugins.registry import FUSIONS


@FUSIONS.register_module()
class AvigateCustomFusion(Fusion):
    """Stack of gated fusion layers over projected video and audio.

    Names and defaults are upstream's flags'; ``generation``, ``pool``, ``no_audio`` and ``dropout`` are new.

    Args:
        dim: width D of video and audio, both projected.
        fusion_layers: number of layers.
        fusion_n_heads: heads of the refining self-attention (the value-only attention is the same for any number).
        gating_type: ``global`` (a value a sample), ``clipwise`` (a clip), ``elementwise`` (a clip and feature).
        generation: ``sigmoid`` or ``tanh``, the two published ones.
        mha_gate_temp: temperature of the attention gate, fixed. This and the next five are for ``sigmoid``.
        mha_gate_bias_init: start of its learned bias; 1.5 to 2.0 keeps it from closing.
        mha_gate_scale_init: start of its learned scale.
        ffn_gate_alpha_init: start of the FFN gate's learned scale; 0.2 to 0.3 keeps it from taking over.
        ffn_gate_film: modulate the FFN branch, (1 + gate) and a shift, instead of gating it.
        ffn_gate_beta_init: start of the shift's learned scale.
        pool: evidence of ``global`` gates: ``masked_mean`` over valid clips, or ``mean`` over all (upstream). With
            ``masked_mean`` padding is zeroed on entry, so whatever it holds changes nothing.
        no_audio: ``error`` refuses samples without audio; ``learned`` sets all their gates to 0 and adds a learned
            vector to their video (in the audio's place closed gates would hide it, and it could not be learned).
        dropout: on the residual branches; upstream has none.

    Raises:
        ConfigError: an unknown choice, fewer than one layer, or heads that do not divide ``dim``.
    """

    placement: ClassVar[str | None] = "projected"

    def __init__(
        self,
        dim: int,
        fusion_layers: int = 4,
        fusion_n_heads: int = 4,
        gating_type: str = "global",
        generation: str = "sigmoid",
        mha_gate_temp: float = 1.5,
        mha_gate_bias_init: float = 1.0,
        mha_gate_scale_init: float = 1.0,
        ffn_gate_alpha_init: float = 0.3,
        ffn_gate_film: bool = False,
        ffn_gate_beta_init: float = 0.3,
        pool: str = "masked_mean",
        no_audio: str = "error",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if fusion_layers < 1:
            raise ConfigError(f"AvigateCustomFusion fusion_layers is {fusion_layers}; expected at least 1")
        if fusion_n_heads < 1 or dim % fusion_n_heads:
            raise ConfigError(f"AvigateCustomFusion fusion_n_heads={fusion_n_heads} does not divide dim={dim}")
        options = GateOptions(
            gating_type=gating_type,
            generation=generation,
            mha_gate_temp=mha_gate_temp,
            mha_gate_bias_init=mha_gate_bias_init,
            mha_gate_scale_init=mha_gate_scale_init,
            ffn_gate_alpha_init=ffn_gate_alpha_init,
            ffn_gate_film=ffn_gate_film,
            ffn_gate_beta_init=ffn_gate_beta_init,
            pool=pool,
        )
        self.dim, self.gating_type, self.pool = dim, gating_type, pool
        self.fusion_layers = nn.ModuleList(
            AvigateCustomLayer(dim, fusion_n_heads, options, layer, dropout) for layer in range(fusion_layers)
        )
        self.no_audio = NoAudio(no_audio, dim)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        x_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> Tensor:
        """Video ``x`` (B, L, D), time-aligned audio ``context`` (B, L, D) -> (B, L, D); see :class:`Fusion`.

        Raises:
            DataError: a width or length does not fit, or a sample has no audio and ``no_audio`` is ``error``.
        """
        self._check_shapes(x, context)
        missing = self.no_audio(x_mask, context_mask)
        if self.pool == "masked_mean":
            x, context = _zero_padding(x, x_mask), _zero_padding(context, context_mask)
        if missing is not None:
            x = torch.where(missing, x + self.no_audio.state, x)
            context = context.masked_fill(missing, 0.0)
        shared = self._shared(x, context, x_mask, context_mask, missing)
        for layer in self.fusion_layers:
            x = layer(x, shared)
        return x

    def _shared(
        self, x: Tensor, context: Tensor, x_mask: Tensor | None, context_mask: Tensor | None, missing: Tensor | None
    ) -> Shared:
        pool, evidence, key_mask = None, context, None
        if self.gating_type == "global":
            masked = self.pool == "masked_mean"
            pool = _mean_weights(x, x_mask if masked else None)
            evidence = _mean_weights(context, context_mask if masked else None) @ context
        if x_mask is not None:  # a sample without valid clips looks at its padding: softmax over nothing is NaN
            key_mask = (x_mask | ~x_mask.any(dim=1, keepdim=True))[:, None, None, :]
        audio = F.layer_norm(context, (self.dim,), eps=self.fusion_layers[0].norm1.eps)
        return Shared(audio, evidence, pool, x_mask, key_mask, missing)

    def _check_shapes(self, x: Tensor, context: Tensor) -> None:
        check_aligned(x, context)
        for name, tensor in (("video", x), ("audio", context)):
            if tensor.shape[-1] != self.dim:
                raise DataError(
                    f"AvigateCustomFusion was built for dim={self.dim}, but the {name} is {tensor.shape[-1]} wide"
                    f" (shape {tuple(tensor.shape)}); project it to {self.dim} first"
                )


def _zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x.masked_fill(~mask.unsqueeze(-1), 0.0)


def _mean_weights(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, 1, L): 1 / valid clips at valid clips, else 0. The mean is then a product: padding was zeroed before."""
    if mask is None:
        return x.new_full((x.shape[0], 1, x.shape[1]), 1 / x.shape[1])
    return (mask / mask.sum(dim=1, keepdim=True).clamp_min(1)).to(x.dtype).unsqueeze(1)
