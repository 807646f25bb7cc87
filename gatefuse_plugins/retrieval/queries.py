"""Queries to vectors, as the evaluation encodes them."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from gatefuse_plugins.data.images import read_image
from gatefuse_plugins.data.transforms import TransformPipeline
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.avigate.encoders.words import WordTokenizer, split_words
from gatefuse_plugins.hosts.avigate.network import AVIGATENetwork
from gatefuse_plugins.hosts.avigate.similarity import text_vectors
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork
from gatefuse_plugins.hosts.blip2_cir.text import clean_caption


def check_words(text: str) -> None:
    """Raise DataError where ``text`` holds no letter or digit of any script."""
    if not re.search(r"\w", text):
        raise DataError(f"query {text!r}: holds no word; expected a description, such as 'a dog barks'")


@torch.no_grad()
def encode_text(model: AVIGATENetwork, text: str) -> Tensor:
    """(1, D) unit vector of a text that searches videos.

    Raises:
        ConfigError: the model has no text encoder.
        DataError: the text holds no word.
    """
    check_words(text)
    if model.text_encoder is None:
        raise ConfigError("model.text_encoder: None, the model was trained on text features; words cannot be encoded")
    texts = model.encode_texts([text])
    return text_vectors(texts.tokens, texts.mask)


@torch.no_grad()
def encode_composed(
    model: ComposedRetrievalNetwork,
    picture: str | Path,
    text: str,
    transform: TransformPipeline,
    token_dtype: str | None = None,
) -> Tensor:
    """(1, E) unit vector of a reference picture changed by a text.

    Args:
        model: with its vision encoder, not with cached tokens.
        picture: image file.
        text: the wanted change.
        transform: of the evaluation.
        token_dtype: ``float16`` or ``float32`` where the model was evaluated on a feature cache of that type; the
            encoder's tokens are then rounded as there.

    Raises:
        DataError: the text holds no word, or the picture cannot be read.
    """
    check_words(text)
    images = transform(read_image(picture))[None].to(model.query_tokens.device)
    if token_dtype is not None:
        encoder = model.visual_encoder
        parameter = next(encoder.parameters(), images)
        images = encoder(images.to(parameter.dtype)).float().to(getattr(torch, token_dtype)).float()
    query, _ = model.compose(model.image_tokens(images), model.tokenize([text]))
    return query


def unknown_words(model: nn.Module, text: str) -> tuple[list[str], int]:
    """Words of ``text`` that the model's vocabulary lacks, and how many words there are.

    Tokenizers of byte pairs (CLIP's) know every word.
    """
    if isinstance(model, ComposedRetrievalNetwork):
        words, tokenizer = clean_caption(text).split(), model.tokenizer.tokenizer
        found = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
        return [word for word, ids in zip(words, found, strict=True) if tokenizer.unk_token_id in ids], len(words)
    words, tokenizer = split_words(text), getattr(getattr(model, "text_encoder", None), "tokenizer", None)
    known = tokenizer.ids if isinstance(tokenizer, WordTokenizer) else words
    return [word for word in words if word not in known], len(words)
