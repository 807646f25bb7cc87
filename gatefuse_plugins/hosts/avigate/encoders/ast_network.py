"""AST's transformer (Gong et al., Interspeech 2021), under the parameter names that transformers 4 gave it.

transformers 5 calls the same weights by other names in memory. Names that stay let checkpoints, frozen patterns and
injected gates fit whatever release is installed, and none is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.avigate.encoders.ast_weights import read_weights, rename

_LAYER_NORM_EPS = 1e-6  # timm's, from which AST was trained; published config.json files say 1e-12
_INIT_STD = 0.02


@dataclass(frozen=True)
class ASTSizes:
    """Sizes, each under its key in a ``config.json``.

    Raises:
        ConfigError: heads that do not divide the width, or patches that are larger than the spectrogram.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_mel_bins: int
    max_length: int
    patch_size: int
    frequency_stride: int
    time_stride: int

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            near = max(1, round(self.hidden_size / self.num_attention_heads)) * self.num_attention_heads
            raise ConfigError(
                f"ASTAudioEncoder: hidden_dim={self.hidden_size} is no multiple of"
                f" num_heads={self.num_attention_heads}; nearest: {near}"
            )
        largest = min(self.num_mel_bins, self.max_length)
        if self.patch_size > largest:
            raise ConfigError(
                f"ASTAudioEncoder: patch_size={self.patch_size} exceeds spectrograms of max_length={self.max_length} by"
                f" num_mel_bins={self.num_mel_bins}; largest: {largest}"
            )

    @property
    def num_patches(self) -> int:
        """Patches of a spectrogram; they overlap where the stride is below their size."""
        bands = (self.num_mel_bins - self.patch_size) // self.frequency_stride + 1
        return bands * ((self.max_length - self.patch_size) // self.time_stride + 1)


class ASTEmbeddings(nn.Module):
    """Spectrograms (B, T, M) to tokens (B, 2 + patches, D): class, distillation, then patches band by band."""

    def __init__(self, sizes: ASTSizes) -> None:
        super().__init__()
        width, stride = sizes.hidden_size, (sizes.frequency_stride, sizes.time_stride)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + sizes.num_patches, width))
        self.patch_embeddings = _named(projection=nn.Conv2d(1, width, sizes.patch_size, stride))

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, T, M) -> (B, 2 + patches, D)."""
        patches = self.patch_embeddings(spectrogram.transpose(1, 2)[:, None]).flatten(2).transpose(1, 2)
        first = torch.cat([self.cls_token, self.distillation_token], dim=1).expand(len(patches), -1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embeddings


class SelfAttention(nn.Module):
    """Heads without their output projection."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        projected = (project(x) for project in (self.query, self.key, self.value))
        heads = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in projected)
        return F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


class ASTLayer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, sizes: ASTSizes) -> None:
        super().__init__()
        width, inner = sizes.hidden_size, sizes.intermediate_size
        heads = SelfAttention(width, sizes.num_attention_heads)
        self.attention = _named(attention=heads, output=_named(dense=nn.Linear(width, width)))
        self.intermediate = _named(dense=nn.Linear(width, inner), activation=nn.GELU())
        self.output = _named(dense=nn.Linear(inner, width))
        self.layernorm_before = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.layernorm_after = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self.attention(self.layernorm_before(x))
        return x + self.output(self.intermediate(self.layernorm_after(x)))


class ASTNetwork(nn.Module):
    """``embeddings``, ``encoder`` and ``layernorm``; has what :func:`build_pretrained` asks of a transformers model."""

    def __init__(self, sizes: ASTSizes) -> None:
        super().__init__()
        self.embeddings = ASTEmbeddings(sizes)
        self.encoder = _named(layer=nn.Sequential(*(ASTLayer(sizes) for _ in range(sizes.num_hidden_layers))))
        self.layernorm = nn.LayerNorm(sizes.hidden_size, eps=_LAYER_NORM_EPS)
        self.apply(_initialise)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """All tokens (B, 2 + patches, D) of spectrograms (B, T, M), normalised."""
        return self.layernorm(self.encoder(self.embeddings(spectrogram)))

    @classmethod
    def from_pretrained(cls, folder: str, config: ASTSizes, **_: bool) -> tuple[ASTNetwork, dict[str, list[str]]]:
        """The network with a folder's weights, and the names that the folder lacks, with which nothing is loaded.

        Raises:
            CheckpointError: the file cannot be read, or holds names that AST has not.
            RuntimeError: weights of other shapes.
        """
        network = cls(config)
        state = rename(read_weights(Path(folder)), network.state_dict())
        lacking = [name for name in network.state_dict() if name not in state]
        if not lacking:
            network.load_state_dict(state)
        return network, {"missing_keys": lacking}


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=_INIT_STD)
        nn.init.zeros_(module.bias)
