"""Query-aware temporal gate: audio enters a clip where it goes with the picture and with the query, for a while.

    s = (1 + cos(W_v v_l, W_a a_l)) / 2        does the clip's sound fit its sight?
    r = (1 + cos(U_a a_l, U_t t)) / 2          does it fit the query? t: mean of the valid text tokens
    p = smooth(s r)                            learned window over neighbouring valid clips, weights sum to 1
    g = sigmoid((p - threshold) / temperature)
    v'_l = v_l + g_l W a_l

The idea is QD-DETR-exp's (branch ``temporal_gate``, ``qd_detr/temporal_gate.py``): similarity times agreement, averaged
over three clips, sharpened, gating one linear map of the audio. Different here: similarity and agreement are cosines of
learned projections (there a linear layer over [v | a], and an unscaled dot product that saturates its sigmoid); means
and smoothing leave padding out (there both take it in); the window is learned, from a triangle on; the sharpened value
is the gate itself, not a factor of it; W starts at 0, so the host is unchanged at step 0; no sparsity loss.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.fusions.no_audio import NoAudio, check_aligned
from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.registry import FUSIONS


@FUSIONS.register_module()
class QueryAwareTemporalGate(Fusion):
    """Add projected audio to each clip, times one gate a clip.

    Args:
        dim: width D of video, audio and text, all projected.
        attention_dim: width in which streams are compared.
        window: clips that the smoothing sees, odd; 1 smooths nothing.
        threshold_init: evidence at which the gate is half open; learned. 0.25 is the evidence of unrelated streams.
        temperature_init: width of the gate's slope, above 0; learned. Smaller is sharper.
        no_audio: ``error`` refuses samples without audio; ``learned`` closes their gate and adds a learned vector.

    Raises:
        ConfigError: an even or negative window, a temperature that is not above 0, or unknown ``no_audio``.
    """

    placement: ClassVar[str | None] = "projected"
    uses_condition: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        attention_dim: int = 128,
        window: int = 5,
        threshold_init: float = 0.25,
        temperature_init: float = 0.1,
        no_audio: str = "error",
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ConfigError(f"QueryAwareTemporalGate window is {window}; expected an odd number from 1")
        if temperature_init <= 0:
            raise ConfigError(f"QueryAwareTemporalGate temperature_init is {temperature_init}; expected above 0")
        self.dim = dim
        self.video_key = nn.Linear(dim, attention_dim, bias=False)
        self.audio_query = nn.Linear(dim, 2 * attention_dim, bias=False)
        self.text_key = nn.Linear(dim, attention_dim, bias=False)
        distance = torch.arange(window) - window // 2
        self.window = nn.Parameter(torch.log(1 - distance.abs() / (window // 2 + 1)))
        self.threshold = nn.Parameter(torch.tensor(float(threshold_init)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature_init)))
        self.value = nn.Linear(dim, dim)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        self.attention_tap = GateTap("attention", 0.0, 1.0)
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
        """Video ``x``, audio ``context`` (B, L, D), text ``condition`` (B, N, D) -> (B, L, D); see :class:`Fusion`.

        Raises:
            DataError: there is no text, a width or length does not fit, or a sample has no audio and ``no_audio`` is
                ``error``.
        """
        condition = self._check_shapes(x, context, condition)
        missing = self.no_audio(x_mask, context_mask)
        if missing is not None:
            x = torch.where(missing, x + self.no_audio.state, x)
        heard = _joint_mask(x_mask, context_mask)
        if heard is not None:  # zeros, not whatever padding holds: it must reach neither values nor gradients
            context = context.masked_fill(~heard.unsqueeze(-1), 0.0)
        if x_mask is not None:
            x = x.masked_fill(~x_mask.unsqueeze(-1), 0.0)
        evidence = self._smooth(self._evidence(x, context, masked_mean(condition, condition_mask)), heard)
        gate = torch.sigmoid((evidence - self.threshold) * torch.exp(-self.log_temperature))
        if heard is not None:
            gate = gate.masked_fill(~heard, 0.0)
        return torch.addcmul(x, self.attention_tap(gate.unsqueeze(-1), x_mask), self.value(context))

    def _evidence(self, video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
        """Similarity times agreement, (B, L), in 0..1."""
        for_video, for_text = self.audio_query(audio).chunk(2, dim=-1)
        similarity = F.cosine_similarity(self.video_key(video), for_video, dim=-1)
        agreement = F.cosine_similarity(self.text_key(text).unsqueeze(1), for_text, dim=-1)
        return (1 + similarity) * (1 + agreement) / 4

    def _smooth(self, evidence: Tensor, valid: Tensor | None) -> Tensor:
        """Weighted mean over the window, (B, L); clips that are not ``valid``, and those beyond the ends, weigh 0."""
        weight = torch.ones_like(evidence) if valid is None else valid.to(evidence.dtype)
        kernel = self.window.softmax(dim=0).view(1, 1, -1)
        both = torch.cat([evidence * weight, weight]).unsqueeze(1)
        total, share = F.conv1d(both, kernel, padding=kernel.shape[-1] // 2).squeeze(1).chunk(2)
        return total / share.clamp_min(1e-6)

    def _check_shapes(self, x: Tensor, context: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            raise DataError("QueryAwareTemporalGate needs the text as condition (B, N, D), got None")
        check_aligned(x, context)
        for name, tensor in (("video", x), ("audio", context), ("text", condition)):
            if tensor.shape[-1] != self.dim:
                raise DataError(
                    f"QueryAwareTemporalGate was built for dim={self.dim}, but the {name} is {tensor.shape[-1]} wide"
                    f" (shape {tuple(tensor.shape)}); project it to {self.dim} first"
                )
        return condition


def _joint_mask(x_mask: Tensor | None, context_mask: Tensor | None) -> Tensor | None:
    if x_mask is None or context_mask is None:
        return x_mask if context_mask is None else context_mask
    return x_mask & context_mask
