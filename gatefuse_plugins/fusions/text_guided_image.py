"""Text-guided image fusion: the caption decides which image features change, and how far.

    t = pool(text)    g = sigmoid(MLP_g([I; t]))    d = tanh(MLP_d(t))

Gated residuals as in GMU (Arevalo et al., 2017) and TIRG (Vo et al., CVPR 2019); the variant released in the gated fork
of SPRC (ICLR 2024) is ``text_proj=True, norm_affine=True, pool="mean"``. Parameter names are that fork's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.concat_linear import ConcatLinear
from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.registry import FUSIONS

STRATEGIES = ("residual", "additive", "weighted")
POOLS = ("masked_mean", "mean", "first")


@FUSIONS.register_module()
class TextGuidedImageFusion(Fusion):
    """Change image tokens by one text-dependent direction, gated per token and feature.

    Strategies: ``residual`` I + alpha g d; ``additive`` I + alpha d (no gate); ``weighted`` g (I + d) + (1 - g) I,
    which is algebraically ``residual`` with alpha fixed at 1 and is computed so.

    With ``image_dim = text_dim = 768`` and the defaults it has exactly 2,952,193 parameters. Cost a sample of L tokens:
    ``2 L D^2 + D T`` multiply-adds for the gate (the text half of its first layer acts once a sample).

    Args:
        image_dim: width D of the image tokens.
        text_dim: width T of the text tokens; may differ from D.
        strategy: one of ``STRATEGIES``.
        alpha_init: start of the learned scalar alpha; unused by ``weighted``.
        pool: text pooling: ``masked_mean`` ignores padding, ``mean`` averages padding in (upstream), ``first`` takes
            the first token.
        text_proj: project the text to D first (the released fork).
        norm_affine: affine LayerNorm inside the MLPs (the released fork).
        text_norm: affine-free LayerNorm on the pooled text.
        dropout: inside both MLPs.

    Raises:
        ConfigError: unknown ``strategy`` or ``pool``.
    """

    def __init__(
        self,
        image_dim: int,
        text_dim: int,
        strategy: str = "residual",
        alpha_init: float = 0.5,
        pool: str = "masked_mean",
        text_proj: bool = False,
        norm_affine: bool = False,
        text_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, valid in (("strategy", strategy, STRATEGIES), ("pool", pool, POOLS)):
            if value not in valid:
                raise ConfigError(f"TextGuidedImageFusion {name} {value!r} is unknown{suggestion(value, valid)}")
        self.image_dim, self.text_dim = image_dim, text_dim
        self.strategy, self.pool = strategy, pool
        self.text_proj = nn.Linear(text_dim, image_dim) if text_proj else None
        guide_dim = image_dim if text_proj else text_dim
        self.text_norm = nn.LayerNorm(guide_dim, elementwise_affine=False) if text_norm else None
        self.alpha = nn.Parameter(torch.full((1,), float(alpha_init))) if strategy != "weighted" else None
        self.gate_net = None
        if strategy != "additive":
            self.gate_net = _mlp(ConcatLinear(image_dim, guide_dim, image_dim), norm_affine, dropout)
            self.gate_tap = GateTap("image", 0.0, 1.0)
        self.delta_net = _mlp(nn.Linear(guide_dim, image_dim), norm_affine, dropout)
        self.delta_tap = GateTap("delta", -1.0, 1.0)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        x_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> Tensor:
        """Image tokens ``x`` (B, L, D), text tokens ``context`` (B, M, T) -> (B, L, D); see :class:`Fusion`.

        Raises:
            ConfigError: a width differs from the one the fusion was built for.
        """
        self._check_widths(x, context)
        guide = self._pool(context, context_mask)
        if self.text_proj is not None:
            guide = self.text_proj(guide)
        if self.text_norm is not None:
            guide = self.text_norm(guide)
        delta = self.delta_tap(torch.tanh(self.delta_net(guide)).unsqueeze(1))
        step = delta if self.alpha is None else self.alpha * delta
        if self.gate_net is None:
            return x + step
        return torch.addcmul(x, self.gate_tap(torch.sigmoid(self._gate_logits(x, guide)), x_mask), step)

    def _pool(self, text: Tensor, mask: Tensor | None) -> Tensor:
        if self.pool == "first":
            return text[:, 0]
        return masked_mean(text, mask if self.pool == "masked_mean" else None)

    def _gate_logits(self, x: Tensor, guide: Tensor) -> Tensor:
        assert self.gate_net is not None
        hidden = self.gate_net[0](x, guide)
        for layer in self.gate_net[1:]:
            hidden = layer(hidden)
        return hidden

    def _check_widths(self, x: Tensor, context: Tensor) -> None:
        for name, tensor, expected in (("image", x, self.image_dim), ("text", context, self.text_dim)):
            if tensor.shape[-1] != expected:
                raise ConfigError(
                    f"TextGuidedImageFusion was built with {name}_dim={expected}, but the {name} tokens are"
                    f" {tensor.shape[-1]} wide (shape {tuple(tensor.shape)}); set {name}_dim={tensor.shape[-1]}"
                )


def _mlp(first: nn.Linear, norm_affine: bool, dropout: float) -> nn.Sequential:
    """Linear, LayerNorm, ReLU, Dropout, Linear: the order gives the fork's parameter indices 0, 1, 4."""
    width = first.out_features
    return nn.Sequential(
        first,
        nn.LayerNorm(width, elementwise_affine=norm_affine),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(width, width),
    )
