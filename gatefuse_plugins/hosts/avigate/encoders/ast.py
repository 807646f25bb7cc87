"""The Audio Spectrogram Transformer (Gong et al., Interspeech 2021), as AVIGATE uses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.hosts.avigate.encoders.ast_network import ASTNetwork, ASTSizes
from gatefuse_plugins.hosts.avigate.encoders.pretrained import build_pretrained
from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class ASTAudioEncoder(nn.Module):
    """All tokens of AST, projected: the mean of class and distillation token first, then the patches.

    As in AVIGATE (``module_clip.py``), the two tokens are averaged before the last norm.

    Args:
        output_dim: D.
        num_mel_bins, max_length: M and T of the spectrograms; published weights are for 128 and 1024.
        patch_size, stride: of the patches, in frames and bins.
        hidden_dim, depth, num_heads: of the transformer.
        weights: folder with ``config.json`` and weights of AST as transformers stores them (any release;
            ``model.safetensors`` or ``pytorch_model.bin``); the projection to D is not among them and keeps its random
            initialisation.

    Raises:
        WeightsUnavailableError, ConfigError, CheckpointError: see :func:`build_pretrained`.
    """

    def __init__(
        self,
        output_dim: int = 512,
        num_mel_bins: int = 128,
        max_length: int = 1024,
        patch_size: int = 16,
        stride: int = 10,
        hidden_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        sizes = ASTSizes(
            hidden_size=hidden_dim,
            intermediate_size=4 * hidden_dim,
            num_hidden_layers=depth,
            num_attention_heads=num_heads,
            patch_size=patch_size,
            frequency_stride=stride,
            time_stride=stride,
            max_length=max_length,
            num_mel_bins=num_mel_bins,
        )
        self.output_dim, self.patch_size, self.stride = output_dim, patch_size, stride
        self.num_mel_bins, self.max_length = num_mel_bins, max_length
        self.model = build_pretrained("ASTAudioEncoder", ASTNetwork, sizes, weights, None)
        self.projection = nn.Linear(hidden_dim, output_dim, bias=False)
        nn.init.normal_(self.projection.weight, std=hidden_dim**-0.5)  # upstream's

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Tokens (B, 1 + patches, D) of spectrograms (B, T, M); raises ValueError where T or M differ."""
        if spectrogram.shape[1:] != (self.max_length, self.num_mel_bins):
            expected = f"(B, {self.max_length}, {self.num_mel_bins})"
            raise ValueError(f"ASTAudioEncoder: spectrogram of shape {tuple(spectrogram.shape)}, expected {expected}")
        hidden = self.model.encoder(self.model.embeddings(spectrogram))
        pooled = hidden[:, :2].mean(dim=1, keepdim=True)
        return self.projection(self.model.layernorm(torch.cat([pooled, hidden[:, 2:]], dim=1)))

    def token_mask(self, mask: Tensor) -> Tensor:
        """(B, 1 + patches): pooled token of rows with audio, patches that cover a valid frame of ``mask`` (B, T)."""
        over_time = mask.unfold(1, self.patch_size, self.stride).any(dim=2)
        bands = (self.num_mel_bins - self.patch_size) // self.stride + 1
        # patches stand band by band, each over all times
        return torch.cat([mask.any(dim=1, keepdim=True), over_time.repeat(1, bands)], dim=1)
