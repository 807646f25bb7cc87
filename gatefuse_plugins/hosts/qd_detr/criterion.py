"""Training criterion of QD-DETR: spans, classes and saliency, with the same losses at every decoder layer.

Source: QD-DETR (Moon et al., CVPR 2023), section 3.4; ``SetCriterion`` of ``qd_detr/model.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.hosts.qd_detr.matcher import FOREGROUND, HungarianMatcher, Matching
from gatefuse_plugins.hosts.qd_detr.saliency import negative_pair_loss, rank_contrastive_loss, saliency_margin_loss
from gatefuse_plugins.hosts.qd_detr.spans import generalized_temporal_iou, span_cxw_to_xx

BACKGROUND = 1


class SetCriterion(nn.Module):
    """Weighted losses of a batch; argument names and defaults are those of upstream's command line.

    Args:
        span_loss_coef: weight of the L1 loss of matched (center, width).
        giou_loss_coef: weight of 1 - GIoU of matched spans.
        label_loss_coef: weight of the foreground/background cross-entropy.
        lw_saliency: weight of the saliency loss; 0 leaves it out.
        eos_coef: class weight of background queries.
        saliency_margin: margin between paired clips.
        set_cost_span: matching cost, see ``HungarianMatcher``.
        set_cost_giou: matching cost.
        set_cost_class: matching cost.
        saliency_only: no matching, no span and class losses: TVSum has no windows.

    Raises:
        ConfigError: all matching costs are 0.
    """

    empty_weight: Tensor

    def __init__(
        self,
        span_loss_coef: float = 10.0,
        giou_loss_coef: float = 1.0,
        label_loss_coef: float = 4.0,
        lw_saliency: float = 1.0,
        eos_coef: float = 0.1,
        saliency_margin: float = 0.2,
        set_cost_span: float = 10.0,
        set_cost_giou: float = 1.0,
        set_cost_class: float = 4.0,
        saliency_only: bool = False,
    ) -> None:
        super().__init__()
        self.weights = {
            "loss_span": span_loss_coef,
            "loss_giou": giou_loss_coef,
            "loss_label": label_loss_coef,
            "loss_saliency": lw_saliency,
        }
        self.saliency_margin = saliency_margin
        self.saliency_only = saliency_only
        self.matcher = HungarianMatcher(set_cost_span, set_cost_giou, set_cost_class)
        # Not persistent: published checkpoints hold the network alone.
        self.register_buffer("empty_weight", torch.tensor([1.0, eos_coef]), persistent=False)

    def forward(self, outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Losses times their weights; the sum of the entries named ``loss*`` is the training loss.

        Args and errors as in :meth:`terms`. ``class_error`` (percent of matched queries that are called background) has
        no gradient and is only to be logged.
        """
        terms = self.terms(outputs, batch)
        losses = {name: self.weight(name) * value for name, value in terms.items() if name.startswith("loss_")}
        if "class_error" in terms:
            losses["class_error"] = terms["class_error"]
        return losses

    def weight(self, name: str) -> float:
        """Weight of a term; ``loss_span_0`` weighs what ``loss_span`` does."""
        return self.weights[name.rstrip("0123456789").rstrip("_")]

    def terms(self, outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Unweighted scalars ``loss_span, loss_giou, loss_label, class_error, loss_saliency``, under upstream's names.

        Those of decoder layer i carry ``_i``; the last layer's carry nothing.

        Args:
            outputs: ``pred_logits`` and ``pred_spans`` (B, Q, 2) of the last decoder layer, ``aux_outputs`` the same of
                the layers before it (may be absent), ``saliency_scores`` (B, L), ``video_mask`` (B, L), and
                ``saliency_scores_neg`` (B, L): without it the terms of the negative pair are left out.
            batch: ``spans``, ``saliency_pos``, ``saliency_neg``, ``saliency_labels``, as the datasets give them.

        Raises:
            DataError: a label is absent or its shape does not fit the predictions.
            NonFiniteLossError: see ``HungarianMatcher``.
        """
        terms: dict[str, Tensor] = {}
        if not self.saliency_only:
            terms |= self._moment_terms(outputs, batch)
        if self.weights["loss_saliency"]:
            terms["loss_saliency"] = self._saliency_term(outputs, batch)
        return terms

    def _moment_terms(self, outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Tensor]:
        _require(batch, "spans")
        layers = [*outputs.get("aux_outputs", ()), outputs]  # the last layer at the end
        logits = torch.stack([layer["pred_logits"] for layer in layers]).float()
        predicted = torch.stack([layer["pred_spans"] for layer in layers]).float()
        if len(batch["spans"]) != predicted.shape[1]:
            raise DataError(f"batch['spans'] has {len(batch['spans'])} samples; expected {predicted.shape[1]}")
        matching = self.matcher(logits.detach(), predicted.detach(), batch["spans"], batch.get("sample_index"))
        columns = {
            **_span_losses(predicted, batch["spans"], matching),
            **_label_loss(logits, matching, self.empty_weight.to(logits)),
        }
        last = len(layers) - 1
        order = [last, *range(last)]
        return {name if i == last else f"{name}_{i}": values[i] for i in order for name, values in columns.items()}

    def _saliency_term(self, outputs: dict[str, Any], batch: dict[str, Any]) -> Tensor:
        _require(batch, "saliency_pos", "saliency_neg", "saliency_labels")
        scores, mask = outputs["saliency_scores"].float(), outputs["video_mask"].bool()
        labels, negative = batch["saliency_labels"], outputs.get("saliency_scores_neg")
        if labels.shape != scores.shape:
            raise DataError(
                f"batch['saliency_labels'] has shape {tuple(labels.shape)}; expected {tuple(scores.shape)}, one a clip"
            )
        negative = None if negative is None else negative.float()
        loss = saliency_margin_loss(scores, batch["saliency_pos"], batch["saliency_neg"], mask, self.saliency_margin)
        loss = loss + rank_contrastive_loss(scores, labels, mask, negative)
        return loss if negative is None else loss + negative_pair_loss(negative, mask)


def _span_losses(predicted: Tensor, spans: list[Tensor], matching: Matching) -> dict[str, Tensor]:
    """``loss_span`` and ``loss_giou`` (layers,): means over a layer's matched pairs, 0 where there are none."""
    layers = len(predicted)
    first = torch.tensor([0, *(len(windows) for windows in spans)], device=predicted.device).cumsum(0)
    target = torch.cat([windows.to(predicted) for windows in spans])[first[matching.sample] + matching.window]
    source = predicted[matching.layer, matching.sample, matching.query]
    distance = F.l1_loss(source, target, reduction="none").reshape(layers, -1)
    apart = (1 - generalized_temporal_iou(span_cxw_to_xx(source), span_cxw_to_xx(target))).reshape(layers, -1)
    return {
        "loss_span": distance.sum(1) / max(distance.shape[1], 1),
        "loss_giou": apart.sum(1) / max(apart.shape[1], 1),
    }


def _label_loss(logits: Tensor, matching: Matching, class_weight: Tensor) -> dict[str, Tensor]:
    """``loss_label`` (layers,): plain mean of the weighted cross-entropies; ``class_error`` (layers,) in percent."""
    layers = len(logits)
    target = torch.full(logits.shape[:3], BACKGROUND, device=logits.device)
    target[matching.layer, matching.sample, matching.query] = FOREGROUND
    entropy = F.cross_entropy(logits.flatten(0, 2), target.flatten(), class_weight, reduction="none")
    chosen = logits.detach()[matching.layer, matching.sample, matching.query]
    wrong = (chosen.argmax(-1) != FOREGROUND).float().reshape(layers, -1)
    return {
        "loss_label": entropy.reshape(layers, -1).mean(1),
        "class_error": 100 * wrong.sum(1) / max(wrong.shape[1], 1),
    }


def _require(batch: dict[str, Any], *names: str) -> None:
    missing = [name for name in names if batch.get(name) is None]
    if missing:
        raise DataError(
            f"the batch has no {', '.join(map(repr, missing))}, which the losses need; expected a data set with labels "
            f"(role 'train' or a labelled split). It holds: {', '.join(sorted(batch))}"
        )
