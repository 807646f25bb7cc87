"""BLIP-2 composed image retrieval as a LAVIS model, with the methods that SPRC's scripts call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

try:
    from lavis.common.registry import registry
    from lavis.models import BaseModel
except ImportError as error:
    raise ImportError(
        "gatefuse_plugins.lavis needs LAVIS, stock or SPRC's edition: pip install 'gatefuse-plugins[lavis]'"
        f" ({type(error).__name__}: {error})"
    ) from error
from omegaconf import DictConfig, OmegaConf

import gatefuse_plugins.fusions  # noqa: F401  registers what `fusion:` may name
from gatefuse_plugins.checkpoints.loading import LoadReport
from gatefuse_plugins.errors import WeightsUnavailableError
from gatefuse_plugins.hosts.blip2_cir import ComposedRetrievalNetwork, build_blip2_composed_retrieval
from gatefuse_plugins.hosts.blip2_cir.losses import max_token_similarity
from gatefuse_plugins.injection import inject
from gatefuse_plugins.lavis.config import MODEL_TYPES, model_config_path, read_model_config
from gatefuse_plugins.lavis.weights import fill, open_checkpoint


@registry.register_model("blip2_cir_gated")
class Blip2CirGated(ComposedRetrievalNetwork, BaseModel):
    """:class:`ComposedRetrievalNetwork` behind the interface of SPRC's ``Blip2QformerCirAlignPrompt``.

    Model types: ``pretrain`` (EVA ViT-g, 224 px), ``pretrain_vitL`` (CLIP ViT-L, 224 px), ``coco`` (EVA ViT-g
    fine-tuned on COCO, 364 px) and ``tiny`` (from scratch, random weights, offline). The vision encoder is always
    frozen. Query features come from the same code in training and at inference, so the fusion acts in both.
    """

    PRETRAINED_MODEL_CONFIG_DICT: ClassVar[dict[str, str]] = {name: model_config_path(name) for name in MODEL_TYPES}

    @classmethod
    def default_config_path(cls, model_type: str) -> str:
        """Path of the YAML that ships for ``model_type``; raises ConfigError for an unknown one."""
        return model_config_path(model_type)

    @classmethod
    def from_pretrained(cls, model_type: str) -> Blip2CirGated:
        """Build from the YAML of ``model_type``; what ``lavis.models.load_model`` calls. Errors as from_config."""
        path = cls.default_config_path(model_type)
        try:
            return cls.from_config(OmegaConf.load(path).model)
        except WeightsUnavailableError as error:
            raise WeightsUnavailableError(
                f"{error}. The environment variables that name local files stand at the head of {path}"
            ) from error

    @classmethod
    def from_config(cls, cfg: DictConfig | Mapping[str, Any]) -> Blip2CirGated:
        """Build the model from the ``model:`` section of a LAVIS config and load the weights that it names.

        Raises:
            ConfigError: lists every fault of the section.
            PatternError: a pattern of ``injection`` matches nothing.
            WeightsUnavailableError: a file is neither on disk nor reachable; says which one to put where.
            CheckpointError: the weights cannot be read or do not fit.
        """
        config = read_model_config(cfg)
        # read before anything is built: a missing file should not cost the time that a ViT-g takes
        checkpoint = open_checkpoint(config.weights, config.weights_key) if config.weights else None
        # the host for mmengine's Runner has the same parts; taking them from it keeps one builder for both
        host = build_blip2_composed_retrieval(**config.parts)
        model = cls(
            host.visual_encoder,
            host.Qformer,
            host.tokenizer,
            host.fusion,
            num_query_token=host.query_tokens.shape[1],
            embed_dim=host.text_proj.out_features,
            loss_options=host.loss_options,
        )
        if config.injection:
            inject(model, config.injection)
        if checkpoint is not None:
            fill(model, checkpoint, as_start=config.weights_key == "model.pretrained")
        return model

    def load_checkpoint(self, url_or_filename: str) -> LoadReport:
        """Load trained weights: SPRC's ``.pt``, mmengine's ``.pth`` or LAVIS's ``.pth``, never running their code.

        A finished model must hold the fusion; to start a gated model from plain SPRC, set ``model.pretrained`` to its
        file instead. LAVIS's own files, which can hold neither fusion nor prompt tokens, always count as a start.

        Raises:
            WeightsUnavailableError: a URL that is neither cached nor reachable.
            CheckpointError: unreadable, or does not fit; lists every key that differs.
        """
        checkpoint = open_checkpoint(str(url_or_filename), "checkpoint")
        return fill(self, checkpoint, as_start=checkpoint.origin == "lavis")

    def load_from_pretrained(self, url_or_filename: str) -> LoadReport:
        """Load weights to start from; parts new to BLIP-2 may be missing. Errors as :meth:`load_checkpoint`."""
        return fill(self, open_checkpoint(str(url_or_filename), "model.pretrained"), as_start=True)

    def forward(self, samples: Mapping[str, Any]) -> dict[str, Tensor]:
        """Unweighted losses (``loss_itc``, ``loss_rtc``, ``loss_align``, and what the config turns on).

        Args:
            samples: ``image`` and ``target`` (B, 3, S, S), ``text_input`` B captions; optional ``target_id`` (B,),
                equal where two targets are the same picture.
        """
        return self.losses(samples["image"], samples["target"], samples["text_input"], samples.get("target_id"))

    @torch.no_grad()
    def extract_target_features(self, image: Tensor, mode: str = "mean") -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) -> unit target features (B, Q, E), and tokens (B, L, D) after ``ln_vision``.

        Args:
            mode: ``mean``, the only one there is; SPRC's scripts pass it.

        Raises:
            ValueError: another mode.
        """
        if mode != "mean":
            raise ValueError(f"extract_target_features: mode {mode!r} is unknown; did you mean 'mean'?")
        tokens = self.image_tokens(image)
        return self.embed_targets(tokens), tokens

    @torch.no_grad()
    def inference(self, reference_embeds: Tensor, target_feats: Tensor, text: Sequence[str]) -> Tensor:
        """Similarity (B, N) of B queries to N targets: the largest dot product over each target's tokens.

        Args:
            reference_embeds: (B, L, D), the second result of :meth:`extract_target_features`, without the fusion.
            target_feats: (N, Q, E), its first result.
            text: B captions.
        """
        query, _fused = self.compose(reference_embeds, self.tokenize(text))
        return max_token_similarity(query, target_feats)
