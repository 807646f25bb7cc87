"""A small transformer that nobody wrote with gates in mind, and rules that use every kind of insert."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

D, TEXT, AUDIO = 8, 6, 5


class Encoder(nn.Module):
    """Layers over x, and a text encoder whose output the host never uses."""

    def __init__(self, checkpointed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text = nn.Linear(TEXT, D)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(D, 2, 16, dropout=0.0, batch_first=True) for _ in range(3)
        )
        self.parts = nn.ModuleDict({"head": nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 2))})
        self.checkpointed = checkpointed

    def forward(self, x: Tensor, text: Tensor, mask: Tensor | None = None, *, audio: Tensor | None = None) -> Tensor:
        self.text(text)
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.checkpointed else layer(x)
        return self.parts["head"](x)


RULES: list[dict[str, Any]] = [
    {"pattern": "layers.*.self_attn", "gate": {"type": "ResidualGate"}},
    {
        "pattern": "layers.{0,2}.linear2",
        "gate": {"type": "ResidualGate", "granularity": "global", "kind": "ffn"},
        "mask": {"argument": "mask"},
    },
    {
        "pattern": "layers.1",
        "at": "input",
        "fusion": {"type": "TextGuidedImageFusion"},
        "dim": D,
        "context": {"module": "text"},
    },
    {
        "pattern": "layers.2",
        "fusion": {"type": "GatedCrossAttention", "num_heads": 2},
        "dim": D,
        "context_dim": AUDIO,
        "context": {"argument": "audio"},
    },
    {"pattern": "parts.head.0", "gate": {"type": "GatedFeedForward", "hidden_dim": 4}},
]


def inputs(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(2, 5, D, generator=generator),
        "text": torch.randn(2, 3, TEXT, generator=generator),
        "mask": torch.tensor([[True] * 5, [True] * 3 + [False] * 2]),
        "audio": torch.randn(2, 4, AUDIO, generator=generator),
    }


def stir(model: nn.Module, names: tuple[str, ...] = ("raw", "outer_scale"), value: float = 0.3) -> None:
    """Move every insert away from neutral."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gatefuse_injection" in name and name.endswith(names):
                parameter.fill_(value)


def hook_counts(model: nn.Module) -> list[tuple[int, ...]]:
    """Sizes of all hook tables of all modules: what is left of an injection."""
    tables = [name for name in vars(model) if "_hooks" in name]
    return [tuple(len(vars(module)[name]) for name in tables if vars(module)[name]) for module in model.modules()]
