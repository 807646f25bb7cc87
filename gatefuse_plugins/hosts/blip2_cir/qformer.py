"""The Q-Former of stock LAVIS, and the one path through it that SPRC opened by editing LAVIS.

SPRC lets a layer without image states send all tokens down the text path. Calling the encoder with ``query_length=0``
does the same on the unedited class, so neither edition needs a change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.blip2_cir.weights import load_from_hub
from gatefuse_plugins.registry import MODELS

BERT_FILES = ("config.json", "pytorch_model.bin")


@MODELS.register_module(name="QFormer")
def build_qformer(
    encoder_width: int,
    vocab_size: int,
    num_query_token: int = 32,
    cross_attention_freq: int = 2,
    bert: str | None = "bert-base-uncased",
    hidden_size: int = 768,
    num_hidden_layers: int = 12,
    num_attention_heads: int = 12,
    intermediate_size: int = 3072,
    max_position_embeddings: int = 512,
    dropout: float = 0.1,
    initializer_range: float = 0.02,
) -> nn.Module:
    """LAVIS's ``BertLMHeadModel`` with query tokens and cross-attention to image tokens.

    Args:
        encoder_width: width of the image tokens.
        vocab_size: number of token embeddings after resizing.
        num_query_token: query tokens that the model will be run with.
        cross_attention_freq: every n-th layer attends to the image.
        bert: folder or hub name of BERT weights (their sizes win); ``None`` builds from scratch with the sizes below.
        dropout: on hidden states and attention probabilities of a from-scratch model.
        initializer_range: standard deviation of from-scratch weights; BERT's 0.02 suits its width of 768, narrower
            models learn faster from about ``hidden_size ** -0.5``.

    Raises:
        ConfigError: ``hidden_size`` is no multiple of ``num_attention_heads``.
        ImportError: lavis is not installed; names the extra.
        WeightsUnavailableError: ``bert`` cannot be found.
    """
    bert_config, bert_model = _lavis_classes()
    image_options = {
        "encoder_width": encoder_width,
        "add_cross_attention": True,
        "cross_attention_freq": cross_attention_freq,
        "query_length": num_query_token,
    }
    if bert is None:
        if hidden_size % num_attention_heads:
            raise ConfigError(
                f"model.qformer: hidden_size={hidden_size} is no multiple of num_attention_heads={num_attention_heads}"
            )
        config = bert_config(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads,
            intermediate_size=intermediate_size,
            max_position_embeddings=max_position_embeddings,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            initializer_range=initializer_range,
            **image_options,
        )
        qformer = bert_model(config)
    else:

        def load(path: str, **options: bool) -> nn.Module:
            config = bert_config.from_pretrained(path, **options)
            config.update(image_options)
            return bert_model.from_pretrained(path, config=config, **options)

        qformer = load_from_hub(bert, load, BERT_FILES, "model.qformer.bert")
        qformer.resize_token_embeddings(vocab_size)
    _start_query_branch_from_text_branch(qformer)
    return qformer


def _lavis_classes() -> tuple[Any, Any]:
    try:
        from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel
    except ImportError as error:
        raise ImportError(
            "composed image retrieval needs LAVIS's Q-Former: pip install 'gatefuse-plugins[lavis]'"
            f" ({type(error).__name__}: {error})"
        ) from error
    return BertConfig, BertLMHeadModel


def _start_query_branch_from_text_branch(qformer: nn.Module) -> None:
    """Copy each feed-forward weight to its ``_query`` twin, as BLIP-2 does before pre-training."""
    state = qformer.state_dict()
    with torch.no_grad():
        for name, parameter in qformer.named_parameters():
            if "_query" in name:
                parameter.copy_(state[name.replace("_query", "")])


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
    output = bert(
        input_ids,
        query_embeds=query_embeds,
        attention_mask=None if mask is None else mask.long(),
        encoder_hidden_states=image_tokens,
        encoder_attention_mask=torch.ones(image_tokens.shape[:2], dtype=torch.long, device=image_tokens.device),
        return_dict=True,
    )
    return output.last_hidden_state[:, : query_embeds.shape[1]]


def run_text_path(bert: nn.Module, embeddings: Tensor, mask: Tensor) -> Tensor:
    """All tokens through self-attention and the text feed-forward; ``embeddings`` (B, N, H), ``mask`` (B, N)."""
    bias = (1.0 - mask[:, None, None, :].to(embeddings.dtype)) * -10000.0  # LAVIS's own value for masked keys
    layers = bert.config.num_hidden_layers
    return bert.encoder(
        embeddings, attention_mask=bias, head_mask=[None] * layers, query_length=0, return_dict=True
    ).last_hidden_state


def embed_prompted_text(bert: nn.Module, input_ids: Tensor, prompt: Tensor) -> Tensor:
    """[CLS], then ``prompt`` (B, Q, H), then the rest of the text, with positions over all -> (B, Q + T, H)."""
    module = bert.embeddings
    words = module.word_embeddings(input_ids)
    tokens = torch.cat((words[:, :1], prompt, words[:, 1:]), dim=1)
    positions = module.position_embeddings(module.position_ids[:, : tokens.shape[1]])
    return module.dropout(module.LayerNorm(tokens + positions))
