"""The gates of one layer of the AVIGATE custom fusion, both published generations.

QD-DETR-exp, ``qd_detr/avigate_custom.py``: branch ``avigate_custom`` (tanh generation) and branch
``feat/gate_analysis_junhan_v2-0812`` (sigmoid generation, FiLM). Parameter names are upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.ownership import OwnsGateParameters
from gatefuse_plugins.gates.tap import GateTap

GATING_TYPES = ("global", "clipwise", "elementwise")
GENERATIONS = ("sigmoid", "tanh")
POOLS = ("masked_mean", "mean")


@dataclass(frozen=True)
class GateOptions:
    """Options of :class:`AvigateGates`; explained in :class:`AvigateCustomFusion`, whose arguments they are.

    Raises:
        ConfigError: an unknown choice, a temperature that is not above 0, or FiLM with the tanh generation.
    """

    gating_type: str = "global"
    generation: str = "sigmoid"
    mha_gate_temp: float = 1.5
    mha_gate_bias_init: float = 1.0
    mha_gate_scale_init: float = 1.0
    ffn_gate_alpha_init: float = 0.3
    ffn_gate_film: bool = False
    ffn_gate_beta_init: float = 0.3
    pool: str = "masked_mean"

    def __post_init__(self) -> None:
        for name, valid in (("gating_type", GATING_TYPES), ("generation", GENERATIONS), ("pool", POOLS)):
            value = getattr(self, name)
            if value not in valid:
                raise ConfigError(f"AvigateCustomFusion {name} {value!r} is unknown{suggestion(str(value), valid)}")
        if self.mha_gate_temp <= 0:
            raise ConfigError(f"AvigateCustomFusion mha_gate_temp is {self.mha_gate_temp}; expected above 0")
        if self.ffn_gate_film and self.generation == "tanh":
            raise ConfigError(
                "AvigateCustomFusion ffn_gate_film=True needs generation='sigmoid'; the tanh generation has no FiLM"
            )


@dataclass(frozen=True)
class Shared:
    """What all layers of a stack use alike, computed once a forward pass.

    Attributes:
        audio: (B, L, D), normalised along features without affine.
        audio_evidence: what gates see of the audio: (B, 1, D) for ``global``, else (B, L, D).
        pool: weights of the clips in the video's mean, (B, 1, L); ``None``: the gates see every clip apart.
        x_mask: (B, L), True = valid.
        key_mask: (B, 1, 1, L), True = a clip that self-attention may look at.
        missing: (B, 1, 1), True for a sample without audio, whose gates are set to 0.
    """

    audio: Tensor
    audio_evidence: Tensor
    pool: Tensor | None
    x_mask: Tensor | None
    key_mask: Tensor | None
    missing: Tensor | None


class AvigateGates(OwnsGateParameters):
    """Attention gate, FFN gate and, with FiLM, FFN shift of one layer, from video and time-aligned audio.

    Each has a head Linear(2D, D/2), ReLU, Linear over the evidence [video | audio]. Every value passes a tap:
    ``attention_tap``, ``ffn_tap``, ``shift_tap``. All are neutral at 0: with every gate of a layer at 0 the layer's
    output does not depend on the audio. (One gate alone guarantees nothing: each steers a branch of its own.)

    Args:
        dim: width D of both streams.
        options: see :class:`GateOptions`.
        layer: 0-based layer index, for the taps.
    """

    def __init__(self, dim: int, options: GateOptions, layer: int) -> None:
        super().__init__()
        self.options = options
        width = dim if options.gating_type == "elementwise" else 1
        self.mlp_mha, self.mlp_ffn = _head(dim, width), _head(dim, width)
        self.mlp_ffn_beta = _head(dim, width) if options.ffn_gate_film else None
        if options.generation == "sigmoid":
            self.mha_bias = _scalar(options.mha_gate_bias_init)
            self.mha_scale = _scalar(options.mha_gate_scale_init)
            self.ffn_alpha = _scalar(options.ffn_gate_alpha_init)
            self.attention_tap = GateTap("attention", 0.0, None, layer=layer)
            self.ffn_tap = GateTap("ffn", None, None, layer=layer)
        else:
            self.attention_tap = GateTap("attention", -1.0, 1.0, layer=layer)
            self.ffn_tap = GateTap("ffn", -1.0, 1.0, layer=layer)
        if options.ffn_gate_film:
            self.ffn_beta = _scalar(options.ffn_gate_beta_init)
            self.shift_tap = GateTap("shift", None, None, layer=layer)

    def forward(self, video: Tensor, shared: Shared) -> tuple[Tensor, Tensor, Tensor | None]:
        """Attention gate, FFN gate and FFN shift (``None`` without FiLM), from video (B, L, D).

        Their shape is (B, 1, 1), (B, L, 1) or (B, L, D), by granularity.
        """
        raw_mha, raw_ffn, *raw_shift = self._raw(video, shared)
        options, missing = self.options, shared.missing
        if options.generation == "sigmoid":
            attention = torch.sigmoid((raw_mha + self.mha_bias) / options.mha_gate_temp) * self.mha_scale
            ffn = torch.tanh(raw_ffn) * self.ffn_alpha
        else:
            attention, ffn = torch.tanh(raw_mha), torch.tanh(raw_ffn)
        mask = None if shared.pool is not None else shared.x_mask
        attention = self.attention_tap(_closed(attention, missing), mask)
        ffn = self.ffn_tap(_closed(ffn, missing), mask)
        if not raw_shift:
            return attention, ffn, None
        return attention, ffn, self.shift_tap(_closed(torch.tanh(raw_shift[0]) * self.ffn_beta, missing), mask)

    def _raw(self, video: Tensor, shared: Shared) -> list[Tensor]:
        """Raw values of all heads; their first layers read the same evidence, so they are one product."""
        evidence = video if shared.pool is None else shared.pool @ video
        heads = [head for head in (self.mlp_mha, self.mlp_ffn, self.mlp_ffn_beta) if head is not None]
        weight = torch.cat([head[0].weight for head in heads])
        bias = torch.cat([head[0].bias for head in heads])
        hidden = F.relu(F.linear(torch.cat([evidence, shared.audio_evidence], dim=-1), weight, bias), inplace=True)
        return [head[2](part) for head, part in zip(heads, hidden.chunk(len(heads), dim=-1), strict=True)]


def _head(dim: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * dim, dim // 2), nn.ReLU(), nn.Linear(dim // 2, width))


def _scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(float(value)))


def _closed(value: Tensor, missing: Tensor | None) -> Tensor:
    """``value`` with the gates of samples without audio at their neutral 0."""
    return value if missing is None else value.masked_fill(missing, 0.0)
