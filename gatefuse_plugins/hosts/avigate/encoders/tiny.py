"""Small encoders of frames, captions and spectrograms, trained from scratch on the embedded clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.avigate.encoders.words import WordTokenizer
from gatefuse_plugins.hosts.blip2_cir.vision.tiny import TinyPatchEncoder
from gatefuse_plugins.registry import MODELS

_INIT_STD = 0.02


@MODELS.register_module()
class TinyFrameEncoder(nn.Module):
    """One vector a frame: class token of a small vision transformer, projected.

    Args:
        output_dim: D.
        image_size: side of the frames in pixels, a multiple of ``patch_size``.
        patch_size: side of a patch.
        hidden_dim: channels of the transformer, a multiple of ``num_heads``.
        depth, num_heads: of the transformer.

    Raises:
        ConfigError: sizes that do not divide.
    """

    def __init__(
        self,
        output_dim: int = 64,
        image_size: int = 32,
        patch_size: int = 8,
        hidden_dim: int = 64,
        depth: int = 2,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.patches = TinyPatchEncoder(image_size, patch_size, hidden_dim, depth, num_heads)
        self.projection = nn.Linear(hidden_dim, output_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors (n, D) of frames (n, 3, S, S)."""
        return self.projection(self.patches(images)[:, 0])


@MODELS.register_module()
class TinyTextEncoder(nn.Module):
    """Bidirectional transformer over words.

    Args:
        output_dim: D.
        vocabulary, context_length: see :class:`WordTokenizer`.
        hidden_dim, depth, num_heads: of the transformer.
        tokens: give all tokens, not [CLS] alone; ``token_mask`` then tells which are padding.

    Raises:
        ConfigError: sizes that do not divide.
        DataError: the vocabulary cannot be read.
    """

    def __init__(
        self,
        output_dim: int = 64,
        vocabulary: str = "clips",
        context_length: int = 24,
        hidden_dim: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        tokens: bool = False,
    ) -> None:
        super().__init__()
        self.output_dim, self.tokens = output_dim, tokens
        self.tokenizer = WordTokenizer(vocabulary, context_length)
        self.embedding = nn.Embedding(len(self.tokenizer), hidden_dim)
        self.position = nn.Parameter(torch.randn(1, context_length, hidden_dim) * _INIT_STD)
        self.blocks = _blocks("TinyTextEncoder", hidden_dim, depth, num_heads)
        self.norm = nn.LayerNorm(hidden_dim)
        self.projection = nn.Linear(hidden_dim, output_dim)

    def forward(self, captions: Sequence[str]) -> Tensor:
        """(B, 1, D), or all tokens (B, N, D), of B captions."""
        ids, mask = self.tokenizer(captions, self.position.device)
        hidden = self.embedding(ids) + self.position[:, : ids.shape[1]]
        for block in self.blocks:
            hidden = block(hidden, src_key_padding_mask=~mask)
        hidden = hidden if self.tokens else hidden[:, :1]
        return self.projection(self.norm(hidden))

    def token_mask(self, captions: Sequence[str]) -> Tensor:
        """(B, 1) or (B, N) True = a token."""
        mask = self.tokenizer(captions, self.position.device)[1]
        return mask if self.tokens else mask[:, :1]


@MODELS.register_module()
class TinyAudioEncoder(nn.Module):
    """Transformer over patches of a log-mel spectrogram, each of all bins and ``patch_frames`` frames.

    Padding takes part in the attention, as in AST; ``token_mask`` tells it from audio afterwards.

    Args:
        output_dim: D.
        num_mel_bins: M.
        max_length: frames T of a spectrogram, a multiple of ``patch_frames``.
        patch_frames: frames of a patch.
        hidden_dim, depth, num_heads: of the transformer.

    Raises:
        ConfigError: sizes that do not divide.
    """

    def __init__(
        self,
        output_dim: int = 64,
        num_mel_bins: int = 32,
        max_length: int = 100,
        patch_frames: int = 5,
        hidden_dim: int = 64,
        depth: int = 2,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        if max_length % patch_frames:
            near = max(1, round(max_length / patch_frames)) * patch_frames
            raise ConfigError(f"TinyAudioEncoder: {max_length=} is no multiple of {patch_frames=}; nearest: {near}")
        self.output_dim, self.num_mel_bins = output_dim, num_mel_bins
        self.max_length, self.patch_frames = max_length, patch_frames
        self.embedding = nn.Linear(num_mel_bins * patch_frames, hidden_dim)
        self.position = nn.Parameter(torch.randn(1, max_length // patch_frames, hidden_dim) * _INIT_STD)
        self.blocks = _blocks("TinyAudioEncoder", hidden_dim, depth, num_heads)
        self.norm = nn.LayerNorm(hidden_dim)
        self.projection = nn.Linear(hidden_dim, output_dim)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Tokens (B, T / patch_frames, D) of spectrograms (B, T, M); raises ValueError where T or M differ."""
        if spectrogram.shape[1:] != (self.max_length, self.num_mel_bins):
            expected = f"(B, {self.max_length}, {self.num_mel_bins})"
            raise ValueError(f"TinyAudioEncoder: spectrogram of shape {tuple(spectrogram.shape)}, expected {expected}")
        patches = spectrogram.unflatten(1, (-1, self.patch_frames)).flatten(2)
        hidden = self.embedding(patches) + self.position
        for block in self.blocks:
            hidden = block(hidden)
        return self.projection(self.norm(hidden))

    def token_mask(self, mask: Tensor) -> Tensor:
        """(B, T / patch_frames): tokens that cover a valid frame of ``mask`` (B, T)."""
        return mask.unflatten(1, (-1, self.patch_frames)).any(dim=2)


def _blocks(owner: str, hidden_dim: int, depth: int, num_heads: int) -> nn.ModuleList:
    if hidden_dim % num_heads:
        near = max(1, round(hidden_dim / num_heads)) * num_heads
        raise ConfigError(f"{owner}: {hidden_dim=} is no multiple of {num_heads=}; nearest: {near}")
    return nn.ModuleList(
        nn.TransformerEncoderLayer(
            hidden_dim, num_heads, 4 * hidden_dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(depth)
    )
