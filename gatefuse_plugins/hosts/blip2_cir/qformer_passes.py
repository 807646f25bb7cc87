"""The passes through a Q-Former that composed retrieval needs, the same for every backend.

A backend's ``bert`` holds ``embeddings(input_ids, query_embeds)`` and ``encoder``; the encoder sends its first
``query_length`` tokens through cross-attention and the query feed-forward, the rest through the text feed-forward.

SPRC lets a layer without image states send all tokens down the text path, for which it edits LAVIS. Calling the
encoder with ``query_length=0`` does the same on unedited classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def fuse_queries(
    bert: nn.Module,
    query_embeds: Tensor,
    image_tokens: Tensor,
    input_ids: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Queries attend to each other, to the text (where given) and to the image.

    Shapes: ``query_embeds`` (B, Q, H), ``image_tokens`` (B, L, D), ``input_ids`` (B, T), ``mask`` (B, Q + T) boolean
    -> (B, Q, H).
    """
    queries = query_embeds.shape[1]
    states = _encode(bert, bert.embeddings(input_ids=input_ids, query_embeds=query_embeds), mask, image_tokens, queries)
    return states[:, :queries]


def run_text_path(bert: nn.Module, embeddings: Tensor, mask: Tensor) -> Tensor:
    """All tokens through self-attention and the text feed-forward; ``embeddings`` (B, N, H), ``mask`` (B, N)."""
    return _encode(bert, embeddings, mask, None, 0)


def embed_prompted_text(bert: nn.Module, input_ids: Tensor, prompt: Tensor) -> Tensor:
    """[CLS], then ``prompt`` (B, Q, H), then the rest of the text, with positions over all -> (B, Q + T, H)."""
    module = bert.embeddings
    words = module.word_embeddings(input_ids)
    tokens = torch.cat((words[:, :1], prompt, words[:, 1:]), dim=1)
    positions = module.position_embeddings(module.position_ids[:, : tokens.shape[1]])
    return module.dropout(module.LayerNorm(tokens + positions))


def _encode(
    bert: nn.Module, embeddings: Tensor, mask: Tensor | None, image_tokens: Tensor | None, query_length: int
) -> Tensor:
    # an additive mask is what both backends take; LAVIS's own value for masked keys
    bias = None if mask is None else (1.0 - mask[:, None, None, :].to(embeddings.dtype)) * -10000.0
    return bert.encoder(
        embeddings, attention_mask=bias, encoder_hidden_states=image_tokens, query_length=query_length
    ).last_hidden_state
