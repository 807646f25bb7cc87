"""Input projections and small MLPs (QD-DETR, model.py)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.hosts.qd_detr.dropout import Dropout, drop_linear

_CACHED = 1 << 20  # elements of a block


class MLP(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        input_dim: width of the input.
        hidden_dim: width of the hidden layers.
        output_dim: width of the output.
        num_layers: number of linear layers.
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., input_dim) -> (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class ProjectionLayer(nn.Module):
    """LayerNorm, dropout, linear and, except in the last layer of a projection, ReLU."""

    def __init__(self, input_dim: int, output_dim: int, dropout: float, relu: bool) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(input_dim)
        self.net = nn.Sequential(Dropout(dropout), nn.Linear(input_dim, output_dim))
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, input_dim) -> (B, L, output_dim)."""
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return self._project(x)
        # rows apart, so that the normalised copy of wide features stays in the cache and is never held as a whole
        rows = max(_CACHED // x.shape[-1], 1)
        return torch.cat([self._project(block) for block in x.flatten(0, -2).split(rows)]).unflatten(0, x.shape[:-1])

    def _project(self, x: Tensor) -> Tensor:
        dropout, linear = self.net
        x = drop_linear(self.LayerNorm(x), linear, dropout.p, self.training)
        return F.relu(x, inplace=True) if self.relu else x


def input_projection(input_dim: int, hidden_dim: int, num_layers: int, dropout: float) -> nn.Sequential:
    """Projection of raw features to the width of the transformer: ``num_layers`` of :class:`ProjectionLayer`."""
    return nn.Sequential(
        *(
            ProjectionLayer(hidden_dim if index else input_dim, hidden_dim, dropout, relu=index < num_layers - 1)
            for index in range(num_layers)
        )
    )
