"""The composed-retrieval host for mmengine's Runner, and its builder from configs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from mmengine.model import BaseModel
from torch import Tensor, nn

from gatefuse_plugins.hosts.blip2_cir.losses import max_token_similarity
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork, LossOptions
from gatefuse_plugins.hosts.modes import MODES, unknown_mode
from gatefuse_plugins.registry import FUSIONS, MODELS


class Blip2ComposedRetrieval(ComposedRetrievalNetwork, BaseModel):
    """:class:`ComposedRetrievalNetwork` with mmengine's ``train_step`` and ``val_step``."""

    def forward(
        self,
        mode: str = "tensor",
        *,
        reference: Tensor | None = None,
        caption: Sequence[str] = (),
        target: Tensor | None = None,
        target_id: Tensor | None = None,
        image: Tensor | None = None,
        image_index: Tensor | None = None,
        query_index: Tensor | None = None,
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """One batch.

        Args:
            mode: ``loss`` gives the weighted losses; ``predict`` gives a list with one dict of ``image_features``
                (n, Q, E), ``image_index``, ``query_features`` (m, E), ``query_index``, whichever the batch holds;
                ``tensor`` gives the similarity (m, n) of the batch's queries and its targets or images.
            reference: images (B, 3, S, S) or raw tokens (B, L, D) of the queries; likewise ``target``, ``image``.

        Raises:
            ValueError: unknown mode.
        """
        if mode == "loss":
            assert reference is not None and target is not None
            return self._weigh(self.losses(reference, target, caption, target_id))
        if mode not in MODES:
            raise unknown_mode("Blip2ComposedRetrieval", mode)
        features: dict[str, Tensor] = {}
        pictures = image if image is not None else (target if mode == "tensor" else None)
        if pictures is not None:
            features["image_features"] = self.embed_targets(self.image_tokens(pictures))
        if reference is not None:
            query, _fused = self.compose(self.image_tokens(reference), self.tokenize(caption))
            features["query_features"] = query
        if mode == "tensor":
            return max_token_similarity(features["query_features"], features["image_features"])  # type: ignore[return-value]
        for name, index in (("image_index", image_index), ("query_index", query_index)):
            if index is not None:
                features[name] = index
        return [features]

    def _weigh(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        options = self.loss_options
        weights = {
            "loss_rtc": options.weight_rtc,
            "loss_align": options.weight_align,
            "loss_patch": options.weight_patch,
        }
        return {name: value * weights.get(name, 1.0) for name, value in losses.items()}


@MODELS.register_module(name="Blip2ComposedRetrieval")
def build_blip2_composed_retrieval(
    vision: dict,
    qformer: dict,
    tokenizer: dict,
    fusion: dict | None = None,
    num_query_token: int = 32,
    embed_dim: int = 256,
    weight_rtc: float = 0.4,
    weight_align: float = 0.4,
    weight_patch: float = 0.0,
    mask_duplicates: bool = False,
    temperature_floor: float = 0.0,
    hard_negative_beta: float = 0.0,
    data_preprocessor: dict | None = None,
) -> Blip2ComposedRetrieval:
    """Build the host from configs; widths that one part needs from another are filled in.

    Args:
        vision: ``EvaViTG``, ``ClipViTL``, ``TinyPatchEncoder`` or ``CachedVision``.
        qformer: arguments of :func:`build_qformer`.
        tokenizer: arguments of :class:`CaptionTokenizer`.
        fusion: any registered fusion, ``None`` for plain SPRC. ``image_dim`` and ``text_dim`` may be left out.
        num_query_token: query tokens Q; likewise prompt tokens.
        embed_dim: width of the retrieval space.
        weight_rtc: see :class:`LossOptions`, also for the remaining arguments.
    """
    options = LossOptions(
        weight_rtc, weight_align, weight_patch, mask_duplicates, temperature_floor, hard_negative_beta
    )
    visual_encoder = MODELS.build(vision)
    captions = MODELS.build(tokenizer)
    text_model = MODELS.build(
        {
            "encoder_width": visual_encoder.num_features,
            "vocab_size": len(captions),
            "num_query_token": num_query_token,
            **qformer,
        }
    )
    image_dim, text_dim = visual_encoder.num_features, text_model.config.hidden_size
    return Blip2ComposedRetrieval(
        visual_encoder,
        text_model,
        captions,
        build_fusion(fusion, image_dim, text_dim) if fusion else None,
        num_query_token,
        embed_dim,
        options,
        data_preprocessor=data_preprocessor,
    )


def build_fusion(config: dict, image_dim: int, text_dim: int) -> nn.Module:
    """Build a fusion, filling in the widths that it takes and that its config leaves out; also inside a sequence."""
    config = dict(config)
    if isinstance(config.get("fusions"), (list, tuple)):
        config["fusions"] = [build_fusion(item, image_dim, text_dim) for item in config["fusions"]]
        return FUSIONS.build(config)
    cls = FUSIONS.get(config["type"])
    accepted = inspect.signature(cls).parameters if cls is not None else {}
    for name, width in (("image_dim", image_dim), ("text_dim", text_dim)):
        if name in accepted:
            config.setdefault(name, width)
    return FUSIONS.build(config)
