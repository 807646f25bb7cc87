"""CLIP's encoders of frames and captions (Radford et al., ICML 2021), through transformers.

Defaults are ViT-B/32; ``patch_size=16`` is ViT-B/16. Checkpoints of CLIP4Clip and AVIGATE map onto the parameters, see
:mod:`gatefuse_plugins.hosts.avigate.encoders.clip4clip`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.avigate.encoders.pretrained import build_pretrained, require_vocabulary
from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class CLIPFrameEncoder(nn.Module):
    """One vector a frame: CLIP's image embedding, not normalised.

    Args:
        output_dim: D.
        patch_size: 32 or 16 pixels.
        image_size: side of the frames in pixels.
        hidden_dim, depth, num_heads: of the transformer.
        weights: folder with ``config.json`` and weights of CLIP as transformers stores them.

    Raises:
        WeightsUnavailableError, ConfigError, CheckpointError: see :func:`build_pretrained`.
    """

    def __init__(
        self,
        output_dim: int = 512,
        patch_size: int = 32,
        image_size: int = 224,
        hidden_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        if image_size % patch_size:
            near = max(1, round(image_size / patch_size)) * patch_size
            raise ConfigError(f"CLIPFrameEncoder: {image_size=} is no multiple of {patch_size=}; nearest: {near}")
        config = CLIPVisionConfig(
            hidden_size=hidden_dim,
            intermediate_size=4 * hidden_dim,
            projection_dim=output_dim,
            num_hidden_layers=depth,
            num_attention_heads=num_heads,
            image_size=image_size,
            patch_size=patch_size,
        )
        self.output_dim = output_dim
        self.model = build_pretrained(
            "CLIPFrameEncoder", CLIPVisionModelWithProjection, config, weights, "vision_config"
        )

    def forward(self, images: Tensor) -> Tensor:
        """Vectors (n, D) of frames (n, 3, S, S)."""
        return self.model(pixel_values=images).image_embeds


@MODELS.register_module()
class CLIPTextEncoder(nn.Module):
    """CLIP's text embedding, not normalised.

    Args:
        vocabulary: folder with CLIP's ``vocab.json`` and ``merges.txt``.
        output_dim: D.
        context_length: tokens of a caption, start and end included (upstream ``max_words``); longer ones are cut.
        hidden_dim, depth, num_heads: of the transformer.
        vocab_size, max_positions: rows of the embeddings.
        tokens: give all tokens, not the end token alone; ``token_mask`` then tells which are padding.
        weights: as :class:`CLIPFrameEncoder`.

    Attributes:
        cut_captions: distinct captions that were cut.

    Raises:
        WeightsUnavailableError, ConfigError, CheckpointError: see :func:`build_pretrained`.
    """

    def __init__(
        self,
        vocabulary: str,
        output_dim: int = 512,
        context_length: int = 32,
        hidden_dim: int = 512,
        depth: int = 12,
        num_heads: int = 8,
        vocab_size: int = 49408,
        max_positions: int = 77,
        tokens: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

        if not 3 <= context_length <= max_positions:
            raise ConfigError(f"CLIPTextEncoder: {context_length=} must lie in 3 to max_positions={max_positions}")
        folder = require_vocabulary("CLIPTextEncoder", vocabulary, ("vocab.json", "merges.txt"))
        self.tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        if len(self.tokenizer) > vocab_size:
            raise ConfigError(f"CLIPTextEncoder: the vocabulary has {len(self.tokenizer)} tokens, {vocab_size=}")
        config = CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_dim,
            intermediate_size=4 * hidden_dim,
            projection_dim=output_dim,
            num_hidden_layers=depth,
            num_attention_heads=num_heads,
            max_position_embeddings=max_positions,
        )
        self.output_dim, self.context_length, self.tokens = output_dim, context_length, tokens
        self.cut_captions = 0
        self._known: dict[str, list[int]] = {}
        self.model = build_pretrained("CLIPTextEncoder", CLIPTextModelWithProjection, config, weights, "text_config")

    def forward(self, captions: Sequence[str]) -> Tensor:
        """(B, 1, D), or all tokens (B, N, D), of B captions."""
        ids, mask = self._tokenize(captions)
        # the attention is causal, so padding behind the end token cannot reach it
        hidden = self.model.text_model(input_ids=ids).last_hidden_state
        if not self.tokens:
            rows = torch.arange(len(ids), device=hidden.device)
            hidden = hidden[rows, mask.sum(dim=1) - 1][:, None]
        return self.model.text_projection(hidden)

    def token_mask(self, captions: Sequence[str]) -> Tensor:
        """(B, 1) or (B, N) True = a token."""
        mask = self._tokenize(captions)[1]
        return mask if self.tokens else mask[:, :1]

    def _tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [self._known.get(caption) or self._encode(caption) for caption in captions]
        device = self.model.text_projection.weight.device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        longest = max(map(len, rows), default=1)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        return ids, torch.arange(longest, device=device) < lengths[:, None]

    def _encode(self, caption: str) -> list[int]:
        ids = self.tokenizer(caption).input_ids
        if len(ids) > self.context_length:
            if not self.cut_captions:
                message = f"{caption!r} has {len(ids)} tokens, cut to {self.context_length} (context_length)"
                print_log(f"captions: {message}; later ones are counted, not logged", logger="current")
            self.cut_captions += 1
            ids = [*ids[: self.context_length - 1], ids[-1]]
        self._known[caption] = ids
        return ids
