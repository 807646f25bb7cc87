"""The Q-Former of LAVIS, stock or as edited by SPRC."""

from __future__ import annotations

from typing import Any

from torch import nn

from gatefuse_plugins.hosts.blip2_cir.qformer import QFormerOptions
from gatefuse_plugins.hosts.blip2_cir.weights import bert_files, load_from_hub


def build_lavis_qformer(options: QFormerOptions) -> nn.Module:
    """LAVIS's ``BertLMHeadModel``.

    Raises:
        ImportError: lavis is not installed; names the extra.
        WeightsUnavailableError: ``options.bert`` cannot be found.
    """
    bert_config, bert_model = _lavis_classes()
    image_options = {
        "encoder_width": options.encoder_width,
        "add_cross_attention": True,
        "cross_attention_freq": options.cross_attention_freq,
        "query_length": options.num_query_token,
    }
    if options.bert is None:
        config = bert_config(
            vocab_size=options.vocab_size,
            hidden_size=options.hidden_size,
            num_hidden_layers=options.num_hidden_layers,
            num_attention_heads=options.num_attention_heads,
            intermediate_size=options.intermediate_size,
            max_position_embeddings=options.max_position_embeddings,
            hidden_dropout_prob=options.dropout,
            attention_probs_dropout_prob=options.dropout,
            initializer_range=options.initializer_range,
            **image_options,
        )
        return bert_model(config)

    def load(path: str, **hub: bool) -> nn.Module:
        config = bert_config.from_pretrained(path, **hub)
        config.update(image_options)
        return bert_model.from_pretrained(path, config=config, **hub)

    qformer = load_from_hub(options.bert, load, bert_files(options.bert), "model.qformer.bert")
    qformer.resize_token_embeddings(options.vocab_size)
    return qformer


def _lavis_classes() -> tuple[Any, Any]:
    try:
        from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel
    except ImportError as error:
        raise ImportError(
            "model.qformer.backend='lavis' needs LAVIS: pip install 'gatefuse-plugins[lavis]' (Python 3.11), or set"
            " backend='transformers' and pip install 'gatefuse-plugins[transformers]'"
            f" ({type(error).__name__}: {error})"
        ) from error
    return BertConfig, BertLMHeadModel
