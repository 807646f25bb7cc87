"""Text-guided spatial attention: the caption decides where to look.

    a_l = L softmax_l(<W_q t, W_k I_l> / sqrt(d))    I'_l = I_l (1 + tanh(s) (a_l - 1))

The attention is scaled to mean 1 over the L tokens, so the modulation keeps the tokens' overall size; s starts at 0, so
the host's outputs are unchanged at step 0. Additive attention over image regions as in TIRG's spatial variant (Vo et
al., CVPR 2019) and SE-style rescaling.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.registry import FUSIONS


@FUSIONS.register_module()
class TextGuidedSpatialAttention(Fusion):
    """Rescale every image token by its agreement with the pooled text.

    Args:
        image_dim: width D of the image tokens.
        text_dim: width T of the text tokens.
        attention_dim: width d in which text and tokens are compared.
    """

    def __init__(self, image_dim: int, text_dim: int, attention_dim: int = 128) -> None:
        super().__init__()
        self.image_dim, self.text_dim = image_dim, text_dim
        self.query = nn.Linear(text_dim, attention_dim)
        self.key = nn.Linear(image_dim, attention_dim)
        self.strength = nn.Parameter(torch.zeros(1))
        # the value is how many times its share a token gets: 1 changes nothing, no upper bound but L
        self.attention_tap = GateTap("attention", 0.0, None, neutral=1.0)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        x_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> Tensor:
        """Image tokens ``x`` (B, L, D), text tokens ``context`` (B, M, T) -> (B, L, D); see :class:`Fusion`."""
        query = self.query(masked_mean(context, context_mask))
        logits = torch.einsum("bld,bd->bl", self.key(x), query) / math.sqrt(query.shape[-1])
        count = torch.full_like(logits[:, :1], x.shape[1])
        if x_mask is not None:
            logits = logits.masked_fill(~x_mask, torch.finfo(logits.dtype).min)
            count = x_mask.sum(dim=1, keepdim=True).to(logits.dtype)
        share = self.attention_tap((logits.softmax(dim=1) * count).unsqueeze(-1), x_mask)
        return x * (1 + torch.tanh(self.strength) * (share - 1))
