"""A host of a few thousand parameters, and batches for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatefuse_plugins.hosts.blip2_cir import Blip2ComposedRetrieval, build_blip2_composed_retrieval

IMAGE_SIZE, TOKENS, WIDTH, HIDDEN = 8, 5, 12, 16
FUSION = {"type": "TextGuidedImageFusion"}
CAPTIONS = ["make it red", "remove the small blue square", "add a circle", "move the triangle to the left"]


def tiny_config(**options: Any) -> dict[str, Any]:
    return {
        "vision": {
            "type": "TinyPatchEncoder",
            "image_size": IMAGE_SIZE,
            "patch_size": 4,
            "width": WIDTH,
            "depth": 1,
            "num_heads": 2,
        },
        "qformer": {
            "type": "QFormer",
            "bert": None,
            "hidden_size": HIDDEN,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 64,
            "dropout": 0.0,
            "initializer_range": 0.2,
        },
        "tokenizer": {"type": "CaptionTokenizer", "vocabulary": "tiny", "max_length": 24, "padding": "longest"},
        "num_query_token": 4,
        "embed_dim": 8,
        **options,
    }


def tiny_host(**options: Any) -> Blip2ComposedRetrieval:
    """The same weights for the same options."""
    torch.manual_seed(3)
    return build_blip2_composed_retrieval(**tiny_config(**options))


def tiny_batch(size: int = 4) -> dict[str, Any]:
    """Images, captions (repeated where more than four), target ids."""
    generator = torch.Generator().manual_seed(5)
    images: Tensor = torch.randn(2, size, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    captions = [CAPTIONS[index % len(CAPTIONS)] for index in range(size)]
    return {"reference": images[0], "target": images[1], "caption": captions, "target_id": torch.arange(size)}
