"""BLIP-2 composed-retrieval hosts: the frozen vision encoder is compared by weights, the rest is run.

Everything is built without files of pre-trained weights, whatever the config names: a checkpoint brings the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.behaviour import HEADS
from gatefuse_plugins.checkpoints.migration.families.base import Batches, given, shapes_on_meta
from gatefuse_plugins.checkpoints.migration.hosts import Config, rules_of, type_of
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.registry import MODELS

_BERT_VOCABULARY = 30523  # bert-base-uncased and LAVIS's [DEC]
_BERT_FIELDS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "max_position_embeddings",
)
_IMAGE_TOKENS, _WORDS = 11, 7


class Blip2Family:
    """See :class:`~gatefuse_plugins.checkpoints.migration.families.base.Family`."""

    name = "blip2"
    frozen: tuple[str, ...] = ("visual_encoder",)

    def skeleton(self, config: Config) -> nn.Module:
        """See ``Family``."""
        with torch.device("meta"):
            return MODELS.build(self._bare(config))

    def starting(self, config: Config, seed: int) -> nn.Module:
        """See ``Family``; one thin Q-Former layer over no vocabulary to speak of, unless gates go into its layers."""
        bare = self._bare(config)
        if not rules_of(config):
            thin = {"num_hidden_layers": 1, "intermediate_size": 1, "vocab_size": 2, "max_position_embeddings": 2}
            bare["qformer"] |= thin
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return MODELS.build(bare)

    def runnable(self, config: Config) -> nn.Module:
        """See ``Family``."""
        return MODELS.build(self._bare(config)).eval()

    def keeps_frozen(self, config: Config, top: str) -> bool:
        """See ``Family``."""
        return type_of(config["vision"]) != "CachedVision"

    def frozen_shapes(self, config: Config, top: str) -> dict[str, tuple[int, ...]] | None:
        """See ``Family``; published encoders are not built, for that takes their weights."""
        small = type_of(config["vision"]) == "TinyPatchEncoder"
        return shapes_on_meta(config["vision"], top) if small else None

    def _bare(self, config: Config) -> Config:
        from gatefuse_plugins.hosts.blip2_cir.rules import vision_width

        width = vision_width(config["vision"])
        if width is None:
            raise ConfigError(
                f"model.vision of type {type_of(config['vision'])!r}: cannot tell how wide its tokens are"
            )
        vision = {"type": "CachedVision", "num_features": width, "num_tokens": 1, "image_size": 1, "digest": ""}
        tokenizer = {"type": "CaptionTokenizer", "vocabulary": "tiny"}
        return {**config, "vision": vision, "tokenizer": tokenizer, "qformer": _from_scratch(config)}

    def old_config(self, found: Identity, config: Config) -> Config:
        """See ``Family``."""
        sizes, known = found.sizes, _from_scratch(config)
        qformer = known | given(sizes, *_BERT_FIELDS, "cross_attention_freq", "vocab_size") | {"dropout": 0.0}
        if HEADS in found.extras:
            qformer["num_attention_heads"] = found.extras[HEADS]
        vision = {"type": "CachedVision", "num_features": sizes["encoder_width"], "num_tokens": 1, "image_size": 1}
        fusion = found.fusion_config
        if fusion is not None:
            new = config.get("fusion") or {}
            same = type_of(new) == type_of(fusion)
            kept = (
                {name: value for name, value in new.items() if name in ("pool", "text_norm", "fusions")} if same else {}
            )
            fusion = {**kept, **fusion}
        return {
            **config,
            **given(sizes, "num_query_token", "embed_dim"),
            "qformer": qformer,
            "vision": {**vision, "digest": ""},
            "fusion": fusion,
            "weight_patch": 0.0,
        }

    def upstream_padding(self, config: Config) -> Config:
        """See ``Family``."""
        fusion = config.get("fusion")
        if (
            type_of(fusion) != "TextGuidedImageFusion"
            or not isinstance(fusion, Mapping)
            or fusion.get("pool") == "mean"
        ):
            return config
        return {**config, "fusion": {**fusion, "pool": "mean"}}

    def batches(self, config: Config, seed: int) -> Batches:
        """See ``Family``."""
        bare = self._bare(config)
        generator = torch.Generator().manual_seed(seed)
        width, words = bare["vision"]["num_features"], bare["qformer"]["vocab_size"]

        def batch(*lengths: int) -> dict[str, Any]:
            mask = torch.arange(_WORDS) < torch.tensor(lengths)[:, None]
            ids = torch.randint(1, words, mask.shape, generator=generator) * mask
            images = torch.randn(2, len(lengths), _IMAGE_TOKENS, width, generator=generator)
            return {"reference": images[0], "target": images[1], "input_ids": ids, "mask": mask}

        return {"full": batch(_WORDS, _WORDS), "padded": batch(_WORDS, 3)}

    def outputs(self, model: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        """See ``Family``."""
        from gatefuse_plugins.hosts.blip2_cir.text import TextBatch

        text = TextBatch(batch["input_ids"], batch["mask"])
        query, fused = model.compose(model.image_tokens(batch["reference"]), text)
        targets = model.embed_targets(model.image_tokens(batch["target"]))
        return {"query": query, "fused_queries": fused, "targets": targets}


def _from_scratch(config: Config) -> Config:
    """The Q-Former's config with all sizes stated, so that no BERT has to be found."""
    import inspect

    from gatefuse_plugins.hosts.blip2_cir.qformer import build_qformer
    from gatefuse_plugins.hosts.blip2_cir.rules import qformer_size

    given_node = dict(config["qformer"])
    defaults = {name: item.default for name, item in inspect.signature(build_qformer).parameters.items()}
    bert = given_node.get("bert", defaults["bert"])
    sizes = {name: given_node.get(name, defaults[name]) for name in _BERT_FIELDS}
    if bert is not None:
        sizes = {name: defaults[name] for name in _BERT_FIELDS}  # those of bert-base-uncased
        sizes |= {
            name: size
            for name in ("hidden_size", "max_position_embeddings")
            if (size := qformer_size(given_node, name))
        }
    vocabulary = config.get("tokenizer", {}).get("vocabulary", "bert-base-uncased")
    words = {} if vocabulary == "tiny" and bert is None else {"vocab_size": _BERT_VOCABULARY}
    if "vocab_size" not in given_node and not words:
        from gatefuse_plugins.hosts.blip2_cir.text import CaptionTokenizer

        words = {"vocab_size": len(CaptionTokenizer("tiny"))}
    return {**words, **given_node, **sizes, "bert": None}
