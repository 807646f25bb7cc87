"""The Q-Former of a current transformers release, under LAVIS's parameter names.

Layers are those of ``Blip2QFormerModel``, the head is BERT's. Own code is what that class leaves to its callers, the
text embeddings, and the names: checkpoints, optimizer states and name patterns fit both backends as they are, in
memory and on disk, so that nothing has to be translated when a file is read or written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.hosts.blip2_cir.qformer import QFormerOptions
from gatefuse_plugins.hosts.blip2_cir.weights import bert_files, load_from_hub

OLDEST = "5.13"  # the first whose Q-Former attends through scaled_dot_product_attention
_NEEDED = (
    f"model.qformer.backend='transformers' needs transformers {OLDEST} or later, {{}}: pip install"
    " 'gatefuse-plugins[transformers]' in an environment without lavis, or set backend='lavis'"
)


class TextEmbeddings(nn.Module):
    """Words and positions, behind query tokens that get neither, as in LAVIS's ``BertEmbeddings``."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings)[None])

    def forward(self, input_ids: Tensor | None = None, query_embeds: Tensor | None = None) -> Tensor:
        """``query_embeds`` (B, Q, H) and ``input_ids`` (B, T), at least one -> (B, Q + T, H)."""
        parts = [] if query_embeds is None else [query_embeds]
        if input_ids is not None:
            positions = self.position_embeddings(self.position_ids[:, : input_ids.shape[1]])
            parts.append(self.word_embeddings(input_ids) + positions)
        return self.dropout(self.LayerNorm(torch.cat(parts, dim=1)))


class NamedAttention(nn.Module):
    """An attention block of transformers whose projections are called ``self``, as in BERT, not ``attention``."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.self = block.attention
        self.output = block.output

    def forward(self, hidden_states: Tensor, **streams: Any) -> Tensor:
        """``hidden_states`` (B, N, H), and what the projections take besides -> (B, N, H)."""
        attended, _weights = self.self(hidden_states=hidden_states, **streams)
        return self.output(attended, hidden_states)


class QFormerBert(nn.Module):
    """``embeddings`` and ``encoder``; :mod:`~gatefuse_plugins.hosts.blip2_cir.qformer_passes` runs them."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers import Blip2QFormerModel

        self.config = config
        self.embeddings = TextEmbeddings(config)
        self.encoder = Blip2QFormerModel(config).encoder
        for layer in self.encoder.layer:
            layer.attention = NamedAttention(layer.attention)
            if layer.has_cross_attention:
                layer.crossattention = NamedAttention(layer.crossattention)


class TransformersQFormer(nn.Module):
    """Children and parameter names of LAVIS's ``BertLMHeadModel``, in its order.

    Args:
        config: a ``Blip2QFormerConfig`` with ``use_qformer_text_input``.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        from transformers.models.bert.modeling_bert import BertOnlyMLMHead

        self.config = config
        self.bert = QFormerBert(config)
        self.cls = BertOnlyMLMHead(config)
        self.apply(self._initialise)
        heads = self.cls.predictions
        heads.decoder.weight = self.bert.embeddings.word_embeddings.weight
        heads.decoder.bias = heads.bias

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def build_transformers_qformer(options: QFormerOptions) -> nn.Module:
    """A :class:`TransformersQFormer`.

    Raises:
        ImportError: transformers is not installed, or too old; names the extra.
        WeightsUnavailableError: ``options.bert`` cannot be found.
        CheckpointError: ``options.bert`` lacks some of BERT's weights.
    """
    _require_transformers()
    if options.bert is None:
        sizes = {
            "hidden_size": options.hidden_size,
            "num_hidden_layers": options.num_hidden_layers,
            "num_attention_heads": options.num_attention_heads,
            "intermediate_size": options.intermediate_size,
            "max_position_embeddings": options.max_position_embeddings,
            "hidden_dropout_prob": options.dropout,
            "attention_probs_dropout_prob": options.dropout,
            "initializer_range": options.initializer_range,
        }
        return TransformersQFormer(_config(options, sizes))
    bert = _load_bert(options)
    qformer = TransformersQFormer(_config(options, bert.config.to_dict()))
    weights, own = bert.state_dict(), qformer.state_dict()
    # cross-attention and query branch are new; token types, BERT's third embedding, have no place in a Q-Former
    qformer.load_state_dict({**own, **{name: weights[name] for name in own if name in weights}})
    return qformer


def _load_bert(options: QFormerOptions) -> Any:
    from transformers import BertForMaskedLM

    def load(path: str, **hub: bool) -> Any:
        return BertForMaskedLM.from_pretrained(path, output_loading_info=True, **hub)

    assert options.bert is not None
    key = "model.qformer.bert"
    bert, info = load_from_hub(options.bert, load, bert_files(options.bert), key)
    lacking = sorted(name for name in info["missing_keys"] if not name.startswith("cls."))  # the head plays no part
    if lacking:
        raise CheckpointError(f"{key}={options.bert!r} lacks {len(lacking)} of BERT's weights: {lacking[:5]}")
    # not the mean of the known words, which is newer transformers' choice: LAVIS's [DEC] starts as any other weight
    bert.resize_token_embeddings(options.vocab_size, mean_resizing=False)
    return bert


def _config(options: QFormerOptions, sizes: dict[str, Any]) -> Any:
    from transformers import Blip2QFormerConfig

    shared = {key: value for key, value in sizes.items() if key in _SHARED}
    return Blip2QFormerConfig(
        **shared,
        vocab_size=options.vocab_size,
        encoder_hidden_size=options.encoder_width,
        cross_attention_frequency=options.cross_attention_freq,
        use_qformer_text_input=True,
        attn_implementation="sdpa",
    )


_SHARED = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "hidden_act", "layer_norm_eps"),
    "pad_token_id",
)


def _require_transformers() -> None:
    try:
        from transformers import __version__ as found
    except ImportError as error:
        raise ImportError(_NEEDED.format(f"none is installed ({error})")) from error
    if _release(found) < _release(OLDEST):
        raise ImportError(_NEEDED.format(f"found {found}"))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
