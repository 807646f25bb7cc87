"""Highlight detection by a transformer that mmcv builds: the smallest host of gated mmcv layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn

from gatefuse_plugins.hosts.modes import MODES, unknown_mode
from gatefuse_plugins.hosts.qd_detr.postprocess import saliency_curves
from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class HighlightTransformer(BaseModel):
    """Saliency of clips: clips are the queries of a transformer, words its keys and values.

    Takes the batches of ``data/moments``; see ``configs/mm_gated_transformer.py``.

    Args:
        video_dim: width of the clips' features; ``text_dim``: of the words'.
        encoder: config of an mmcv ``TransformerLayerSequence`` whose layers are ``batch_first``.
        init_cfg: mmengine's initialisation of all layers.
    """

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        encoder: Mapping[str, Any],
        init_cfg: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.encoder = MODELS.build(dict(encoder))
        width = self.encoder.embed_dims
        self.video_proj = nn.Linear(video_dim, width)
        self.text_proj = nn.Linear(text_dim, width)
        self.head = nn.Linear(width, 1)

    def forward(
        self,
        mode: str = "tensor",
        *,
        video: Tensor,
        video_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        **labels: Any,
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Any]]:
        """One batch, ``video`` (B, L, Dv), ``text`` (B, N, Dt) and boolean masks, True = valid.

        Args:
            mode: ``tensor`` gives scores (B, L); ``loss`` their mean squared error to ``saliency_labels`` (B, L) over
                valid clips; ``predict`` a list with one dict of ``sample_index`` and ``saliency``, B arrays.

        Raises:
            ValueError: unknown mode.
        """
        if mode not in MODES:
            raise unknown_mode("HighlightTransformer", mode)
        words = self.text_proj(text)
        clips = self.encoder(
            self.video_proj(video),
            words,
            words,
            query_key_padding_mask=~video_mask,
            key_padding_mask=~text_mask,
        )
        scores = self.head(clips).squeeze(-1)
        if mode == "loss":
            errors = (scores - labels["saliency_labels"])[video_mask]
            return {"loss": errors.square().mean()}
        if mode == "predict":
            return [{"sample_index": labels["sample_index"], "saliency": saliency_curves(scores, video_mask)}]
        return scores
