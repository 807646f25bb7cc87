"""Positions: sines of clip numbers and windows, learned ones for text (QD-DETR, position_encoding.py)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.hosts.qd_detr.dropout import Dropout


def sine_embedding(phase: Tensor, dim: int, temperature: float = 10000.0) -> Tensor:
    """Sines and cosines of ``phase`` (...) in turn, (..., ``dim``); an odd ``dim`` ends with a sine."""
    exponents = torch.arange((dim + 1) // 2, dtype=torch.float32, device=phase.device) * 2 / dim
    angles = phase[..., None] / temperature**exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)[..., :dim]


def clip_positions(mask: Tensor, dim: int) -> Tensor:
    """Embeddings (B, L, ``dim``) float32 of the clips' places in the valid part of each video, ``mask`` (B, L).

    Computed, not looked up, so a video may have any length.
    """
    place = mask.cumsum(1, dtype=torch.float32)
    return sine_embedding(place / (place[:, -1:] + 1e-6) * (2 * math.pi), dim)


def window_positions(windows: Tensor, dim: int) -> Tensor:
    """Embeddings (..., ``dim``) of windows (..., 2) (center, width) in 0..1: half of ``dim`` each."""
    return sine_embedding(windows * (2 * math.pi), dim // 2).flatten(-2)


class TextPositions(nn.Module):
    """Learned positions of text tokens, normalised together with the tokens.

    Args:
        max_length: longest text.
        dim: width D.
        dropout: rate on the result.
    """

    def __init__(self, max_length: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.position_embeddings = nn.Embedding(max_length, dim)
        self.LayerNorm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, text: Tensor) -> Tensor:
        """Positions (B, N, D) of the tokens ``text`` (B, N, D).

        Raises:
            DataError: more tokens than positions.
        """
        length, table = text.shape[1], self.position_embeddings.weight
        if length > len(table):
            raise DataError(
                f"text of {length} tokens, but the learned text positions end at max_q_l={len(table)}; cut the text"
                f" to {len(table)} tokens (the dataset's max_q_l) or leave use_txt_pos off"
            )
        return self.dropout(self.LayerNorm(text + table[:length]))
