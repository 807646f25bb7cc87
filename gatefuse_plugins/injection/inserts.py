"""What injection registers in a host: fusions behind a scale that starts at 0, under one reserved child."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.gates.ownership import OwnsGateParameters
from gatefuse_plugins.gates.tap import GateTap

if TYPE_CHECKING:
    from gatefuse_plugins.injection.plan import InjectionPlan

CHILD = "gatefuse_injection"


class InjectedFusion(OwnsGateParameters):
    """A fusion as a NEW branch: ``x + tanh(s) (fusion(x, context) - x)`` with ``s`` starting at 0.

    So the host is unchanged at step 0 (Flamingo, Alayrac et al., NeurIPS 2022, section 3.1.2). A fusion that starts
    neutral by itself goes without: two factors that both start at 0 would never learn.

    Args:
        fusion: any fusion.
        context_dims: width of the context and the one that the fusion takes, where they differ: then one is projected.
        outer_scale: put ``tanh(s)`` before it.
    """

    def __init__(
        self, fusion: nn.Module, context_dims: tuple[int, int] | None = None, outer_scale: bool = True
    ) -> None:
        super().__init__()
        self.fusion = fusion
        self.context_proj = nn.Linear(*context_dims) if context_dims else None
        self.register_parameter("outer_scale", nn.Parameter(torch.zeros(1, 1, 1)) if outer_scale else None)
        self.tap = GateTap("delta", -1.0, 1.0) if outer_scale else None

    def forward(self, x: Tensor, context: Tensor, **streams: Tensor | None) -> Tensor:
        """``x`` (B, L, D), ``context`` (B, M, C) and further streams as in ``Fusion`` -> (B, L, D)."""
        if self.context_proj is not None:
            context = self.context_proj(context)
        fused = self.fusion(x, context, **streams)
        if self.tap is None:
            return fused
        return x + self.tap(torch.tanh(self.outer_scale)) * (fused - x)


class Injection(nn.Module):
    """The reserved child ``gatefuse_injection`` of an injected host.

    Holds the inserts under keys that name their place (``layers/0/attention/output``), the handles of all hooks, and
    which slots of the host were filled. Only inserts have parameters.
    """

    def __init__(self, plan: InjectionPlan) -> None:
        super().__init__()
        self.inserts = nn.ModuleDict()
        self.plan = plan
        self.handles: list[RemovableHandle] = []
        self.slots: list[tuple[str, str]] = []

    def prefixes(self, of: str = CHILD) -> Sequence[str]:
        """Prefixes of everything in the host's state dict that injection brought."""
        return (f"{of}.", *(f"{path}.{slot}." for path, slot in self.slots))
