"""Builds the Q-Former of the composed-retrieval host, with LAVIS's classes or with those of transformers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.registry import MODELS

BACKENDS = ("lavis", "transformers")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QFormerOptions:
    """What both backends are built from; see :func:`build_qformer`."""

    encoder_width: int
    vocab_size: int
    num_query_token: int
    cross_attention_freq: int
    bert: str | None
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    dropout: float
    initializer_range: float


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
    backend: str = "auto",
) -> nn.Module:
    """BERT with query tokens and cross-attention to image tokens (BLIP-2, section 3.1), named as in LAVIS.

    Args:
        encoder_width: width of the image tokens.
        vocab_size: number of token embeddings after resizing.
        num_query_token: query tokens that the model will be run with.
        cross_attention_freq: every n-th layer attends to the image.
        bert: folder or hub name of BERT weights (their sizes win); ``None`` builds from scratch with the sizes below.
        dropout: on hidden states and attention probabilities of a from-scratch model.
        initializer_range: standard deviation of from-scratch weights; BERT's 0.02 suits its width of 768, narrower
            models learn faster from about ``hidden_size ** -0.5``.
        backend: ``lavis``; ``transformers``, the Q-Former of a current release, whose attention is
            ``scaled_dot_product_attention``; ``auto``, ``lavis`` where it is installed, else ``transformers`` (no
            environment can run both: lavis needs a transformers of 2023). State dicts and results are the same.

    Raises:
        ConfigError: unknown ``backend``, or ``hidden_size`` is no multiple of ``num_attention_heads``.
        ImportError: the backend is not installed, or too old; names the extra.
        WeightsUnavailableError: ``bert`` cannot be found.
    """
    if bert is None and hidden_size % num_attention_heads:
        raise ConfigError(
            f"model.qformer: hidden_size={hidden_size} is no multiple of num_attention_heads={num_attention_heads}"
        )
    options = QFormerOptions(
        encoder_width,
        vocab_size,
        num_query_token,
        cross_attention_freq,
        bert,
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        intermediate_size,
        max_position_embeddings,
        dropout,
        initializer_range,
    )
    chosen = choose_backend(backend)
    _logger.info("Q-Former backend: %s", chosen)
    if chosen == "lavis":
        from gatefuse_plugins.hosts.blip2_cir.qformer_lavis import build_lavis_qformer as build
    else:
        from gatefuse_plugins.hosts.blip2_cir.qformer_transformers import build_transformers_qformer as build
    qformer = build(options)
    _start_query_branch_from_text_branch(qformer)
    return qformer


def choose_backend(backend: str) -> str:
    """``lavis`` or ``transformers``; raises ConfigError for a name that is neither of them nor ``auto``."""
    if backend == "auto":
        return "lavis" if find_spec("lavis") else "transformers"
    if backend not in BACKENDS:
        choices = (*BACKENDS, "auto")
        raise ConfigError(f"model.qformer.backend: {backend!r} is unknown{suggestion(str(backend), choices)}")
    return backend


def _start_query_branch_from_text_branch(qformer: nn.Module) -> None:
    """Copy each feed-forward weight to its ``_query`` twin, as BLIP-2 does before pre-training."""
    state = qformer.state_dict()
    with torch.no_grad():
        for name, parameter in qformer.named_parameters():
            if "_query" in name:
                parameter.copy_(state[name.replace("_query", "")])
