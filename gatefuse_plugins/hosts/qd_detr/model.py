"""The QD-DETR host for mmengine's Runner: network, criterion and post-processing, built from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.model import BaseModel
from torch import Tensor

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.hosts.modes import unknown_mode
from gatefuse_plugins.hosts.qd_detr.criterion import SetCriterion
from gatefuse_plugins.hosts.qd_detr.front import build_fusion
from gatefuse_plugins.hosts.qd_detr.inputs import Streams
from gatefuse_plugins.hosts.qd_detr.network import QDDETRNetwork
from gatefuse_plugins.hosts.qd_detr.postprocess import build_postprocessor, saliency_curves
from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class QDDETR(QDDETRNetwork, BaseModel):
    """:class:`QDDETRNetwork` with its losses and post-processing, and mmengine's ``train_step`` and ``val_step``.

    Args:
        video_dim: see :class:`QDDETRNetwork`, also for ``text_dim``, ``audio_dim``, ``hidden_dim`` and all others.
        fusion: config of a registered fusion of video and audio, whose widths are filled in; ``None``: video only.
        aux_loss: apply window losses to every decoder layer, not to the last alone.
        saliency_only: no windows are learned or predicted, and the decoder never runs (TVSum).
        span_loss_coef: see :class:`SetCriterion`, also for the arguments up to ``set_cost_class``.
        postprocess: options of :class:`PostProcessor`.

    Raises:
        ConfigError: see :class:`QDDETRNetwork` and :class:`PostProcessor`.
    """

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        audio_dim: int | None = None,
        hidden_dim: int = 256,
        fusion: Mapping[str, Any] | None = None,
        aux_loss: bool = True,
        saliency_only: bool = False,
        span_loss_coef: float = 10.0,
        giou_loss_coef: float = 1.0,
        label_loss_coef: float = 4.0,
        lw_saliency: float = 1.0,
        eos_coef: float = 0.1,
        saliency_margin: float = 0.2,
        set_cost_span: float = 10.0,
        set_cost_giou: float = 1.0,
        set_cost_class: float = 4.0,
        postprocess: Mapping[str, Any] | None = None,
        **network_options: Any,
    ) -> None:
        built = build_fusion(fusion, video_dim, audio_dim, hidden_dim) if fusion else None
        super().__init__(video_dim, text_dim, audio_dim, built, hidden_dim, **network_options)
        self.aux_loss, self.saliency_only = aux_loss, saliency_only
        self.criterion = SetCriterion(
            span_loss_coef,
            giou_loss_coef,
            label_loss_coef,
            lw_saliency,
            eos_coef,
            saliency_margin,
            set_cost_span,
            set_cost_giou,
            set_cost_class,
            saliency_only,
        )
        self.postprocess = build_postprocessor(postprocess)
        if saliency_only:  # else distributed training would wait for gradients that never come
            for part in (self.transformer.decoder, self.query_embed, self.span_embed, self.class_embed):
                part.requires_grad_(False)

    def forward(
        self,
        mode: str = "tensor",
        *,
        video: Tensor,
        video_mask: Tensor,
        text: Tensor,
        text_mask: Tensor,
        audio: Tensor | None = None,
        audio_mask: Tensor | None = None,
        return_negatives: bool = False,
        **labels: Any,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """One batch, features (B, length, width) and boolean masks (B, length); see :class:`Streams`.

        Args:
            mode: ``loss`` gives the weighted losses, and ``class_error`` for the log; ``predict`` gives a list with one
                dict: ``sample_index`` (B,), ``windows`` B arrays (n, 3) [start s, end s, score], ``saliency`` B arrays
                of the valid clips' scores; ``tensor`` gives the network's outputs (:meth:`QDDETRNetwork.detect`).
            return_negatives: ``tensor`` only: the scores of the negative pairs too.
            labels: ``spans``, ``saliency_pos``, ``saliency_neg``, ``saliency_labels`` for ``loss``; ``duration`` (B,)
                and ``sample_index`` for ``predict``.

        Raises:
            ValueError: unknown mode.
            DataError: see :meth:`QDDETRNetwork.detect`; a label is missing.
        """
        streams = Streams(video, video_mask, text, text_mask, audio, audio_mask)
        if mode == "loss":
            negatives = bool(self.criterion.weights["loss_saliency"])
            outputs = self.detect(streams, not self.saliency_only, negatives)
            if not self.aux_loss:
                outputs.pop("aux_outputs", None)
            return self.criterion(outputs, labels)
        if mode == "predict":
            return [self._predict(streams, labels)]
        if mode == "tensor":
            return self.detect(streams, negatives=return_negatives)
        raise unknown_mode("QDDETR", mode)

    def _predict(self, streams: Streams, labels: Mapping[str, Any]) -> dict[str, Any]:
        lacking = [name for name in ("duration", "sample_index") if name not in labels]
        if lacking:
            raise DataError(f"QDDETR mode 'predict': the batch lacks {' and '.join(lacking)}, (B,) each")
        outputs = self.detect(streams, not self.saliency_only)
        if self.saliency_only:
            windows = [np.zeros((0, 3)) for _ in streams.video]
        else:
            windows = self.postprocess(outputs["pred_logits"], outputs["pred_spans"], labels["duration"])
        saliency = saliency_curves(outputs["saliency_scores"], streams.video_mask)
        return {"sample_index": labels["sample_index"], "windows": windows, "saliency": saliency}
