"""Gates over pooled streams, and the one that decides how far the text takes part in a query.

``EvidenceGate`` is AVIGATE's gate head (Jeong et al., CVPR 2025, section 3.3), ``QueryGate`` its extension to a third
stream, the text.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates.ownership import OwnsGateParameters
from gatefuse_plugins.gates.sigmoid import SigmoidSquash
from gatefuse_plugins.gates.tanh import TanhSquash
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.registry import GATES

STREAMS = ("video", "audio", "text")
_SLOPE = 1.702


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's ``x * sigmoid(1.702 x)``. Without autograd it overwrites ``x``: hand over what nobody keeps."""
    if torch.is_grad_enabled():
        return x * torch.sigmoid(_SLOPE * x)
    return F.silu(x.mul_(_SLOPE), inplace=True).div_(_SLOPE)


class EvidenceGate(OwnsGateParameters):
    """``squash(proj(QuickGELU(fc [s_1 | s_2 | ...])))`` of streams pooled to (B, D), all layers without bias.

    The first layer is linear in the concatenation, so :meth:`part` gives each stream's share of it alone: a stream that
    many samples have in common (one video against many texts) is projected once, and the concatenation never built.

    Args:
        dim: width D of every stream.
        squash: raw value to gate value; its ``low`` and ``high`` are the tap's range.
        prefix: parameters are called ``{prefix}_fc``, ``{prefix}_proj`` (AVIGATE's checkpoints: ``ag``, ``fg``).
        streams: how many of ``STREAMS`` the first layer concatenates, 2 or 3.
        text_layer: give the text a first layer of its own, ``{prefix}_text``, that starts at 0: checkpoints of the
            gate without text still fit, and mean the same.
        num_values: values a sample: 1 gives (B, 1, 1), H heads give (B, H, 1, 1).
        kind: see :class:`GateTap`, likewise ``neutral`` and ``layer``.

    Raises:
        ConfigError: ``dim`` is below 2, or ``streams`` is neither 2 nor 3.
    """

    def __init__(
        self,
        dim: int,
        squash: nn.Module,
        prefix: str,
        streams: int = 2,
        text_layer: bool = False,
        num_values: int | None = None,
        kind: str = "attention",
        neutral: float = 0.0,
        layer: int | None = None,
    ) -> None:
        super().__init__()
        if dim < 2 or streams not in (2, 3):
            raise ConfigError(f"a gate over {streams} streams of width {dim}: expected 2 or 3 streams, at least 2 wide")
        self.prefix = prefix
        self.dim = dim
        self.streams = STREAMS[:streams] + (("text",) if text_layer and streams == 2 else ())
        self.headwise = num_values is not None
        hidden = dim // 2
        self.add_module(f"{prefix}_fc", nn.Linear(streams * dim, hidden, bias=False))
        if text_layer and streams == 2:
            self.add_module(f"{prefix}_text", nn.Linear(dim, hidden, bias=False))
        self.add_module(f"{prefix}_proj", nn.Linear(hidden, num_values or 1, bias=False))
        self.squash = squash
        self.tap = GateTap(kind, getattr(squash, "low", None), getattr(squash, "high", None), neutral, layer)
        self.reset_text_layer()

    def reset_text_layer(self) -> None:
        """Set the text's own first layer to 0, its start; a host that initialises all its layers calls this after."""
        layer = getattr(self, f"{self.prefix}_text", None)
        if layer is not None:
            nn.init.zeros_(layer.weight)

    def part(self, stream: str, pooled: Tensor) -> Tensor:
        """A stream's share of the hidden layer before its activation: (B, D) -> (B, D / 2)."""
        if stream not in self.streams:
            raise ConfigError(f"this gate sees no stream {stream!r}{suggestion(stream, self.streams)}")
        own = getattr(self, f"{self.prefix}_{stream}", None)
        if own is not None:
            return own(pooled)
        start = STREAMS.index(stream) * self.dim
        return F.linear(pooled, getattr(self, f"{self.prefix}_fc").weight[:, start : start + self.dim])

    def from_parts(self, parts: Sequence[Tensor | None], active: Tensor | None = None) -> Tensor:
        """Gate value (B, 1, 1) or (B, H, 1, 1) from the streams' shares; ``None`` is a stream that says nothing.

        ``active`` (B,) False puts a sample's gate at its neutral value, before the tap, whose mask leaves it out.
        """
        given = [part for part in parts if part is not None]
        hidden = torch.stack(given).sum(dim=0) if len(given) > 1 else given[0].clone()
        value = self.scaled(self.squash(getattr(self, f"{self.prefix}_proj")(quick_gelu(hidden))))
        if active is not None:
            value = torch.where(active[:, None], value, self.tap.neutral)
        mask = None if active is None else active[:, None]
        return self.tap(value[..., None, None] if self.headwise else value[:, None, :], mask)

    def scaled(self, value: Tensor) -> Tensor:
        """What a kind of gate still does to its squashed value; here nothing."""
        return value

    def forward(self, *pooled: Tensor, active: Tensor | None = None) -> Tensor:
        """Streams (B, D) in the order of ``STREAMS`` -> gate value; ``active`` as in :meth:`from_parts`."""
        parts = [self.part(stream, evidence) for stream, evidence in zip(self.streams, pooled, strict=True)]
        return self.from_parts(parts, active)


def tanh_evidence_gate(
    dim: int, prefix: str, kind: str, layer: int | None = None, text_layer: bool = False
) -> EvidenceGate:
    """AVIGATE's attention gate (``ag``) or FFN gate (``fg``): range (-1, 1), neutral at 0."""
    return EvidenceGate(dim, TanhSquash(), prefix, text_layer=text_layer, kind=kind, layer=layer)


@GATES.register_module()
class QueryGate(EvidenceGate):
    """How much of an attention query stays video: ``query = w * video + (1 - w) * text``, ``w`` in (0, 1).

    Over [video mean | audio mean | text mean]; 3 D D/2 + D/2 parameters (393,472 at D = 512), in PyTorch's default
    initialisation, so ``w`` starts near 0.5. Neutral at 1: the text changes nothing.

    With ``outer_scale`` the text's share is times a learned s that starts at 0, ``video + s (1 - w) (text - video)``:
    a trained model that gets this gate is unchanged at first, yet s has a gradient at once and the gate one as
    soon as s has moved. (A large bias inside the sigmoid would be exact only where its gradient is 0.) The gate's value
    is then ``1 - s (1 - w)``, without bounds.

    Args:
        dim: width D.
        num_heads: one value a head (B, H, 1, 1); ``None`` gives one a sample (B, 1, 1).
        layer: 0-based layer index for the tap.
        outer_scale: one parameter more; the others keep names and shapes.
    """

    def __init__(
        self, dim: int, num_heads: int | None = None, layer: int | None = None, outer_scale: bool = False
    ) -> None:
        super().__init__(
            dim, SigmoidSquash(), "qg", streams=3, num_values=num_heads, kind="query", neutral=1.0, layer=layer
        )
        self.register_parameter("outer_scale", nn.Parameter(torch.zeros(())) if outer_scale else None)
        if outer_scale:
            self.tap.low = self.tap.high = None

    def scaled(self, value: Tensor) -> Tensor:
        """``1 - s (1 - w)``; ``w`` itself without ``outer_scale``."""
        return value if self.outer_scale is None else 1 - self.outer_scale * (1 - value)
