"""Hungarian matching of decoder queries to ground-truth windows, all decoder layers in one go.

Source: DETR (Carion et al., ECCV 2020), section 3.1; QD-DETR ``qd_detr/matcher.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gatefuse_plugins.errors import ConfigError, NonFiniteLossError
from gatefuse_plugins.hosts.qd_detr.spans import generalized_temporal_iou, span_cxw_to_xx

FOREGROUND = 0


class Matching(NamedTuple):
    """Matched pairs as four index tensors of equal length, ordered by layer, then sample, then query.

    Every layer has the same number of pairs: min(queries, windows) summed over the samples.
    """

    layer: Tensor
    sample: Tensor
    query: Tensor
    window: Tensor


class HungarianMatcher(nn.Module):
    """One-to-one assignment of least cost; queries left over are background.

    cost = set_cost_span * L1(center, width) - set_cost_giou * GIoU - set_cost_class * P(foreground)

    Args:
        set_cost_span: weight of the L1 distance of (center, width).
        set_cost_giou: weight of the generalised IoU.
        set_cost_class: weight of the foreground probability.

    Raises:
        ConfigError: all three weights are 0, which would match at random.
    """

    def __init__(self, set_cost_span: float = 10.0, set_cost_giou: float = 1.0, set_cost_class: float = 4.0) -> None:
        super().__init__()
        if set_cost_span == set_cost_giou == set_cost_class == 0:
            raise ConfigError("set_cost_span, set_cost_giou and set_cost_class are all 0; expected one above 0")
        self.set_cost_span = set_cost_span
        self.set_cost_giou = set_cost_giou
        self.set_cost_class = set_cost_class

    @torch.no_grad()
    def forward(
        self, pred_logits: Tensor, pred_spans: Tensor, spans: list[Tensor], sample_index: Tensor | None = None
    ) -> Matching:
        """Match every decoder layer apart.

        Args:
            pred_logits: (layers, B, Q, 2), class 0 is foreground.
            pred_spans: (layers, B, Q, 2) as (center, width), normalised.
            spans: B tensors (n_i, 2) as (center, width), normalised; n_i may be 0.
            sample_index: (B,) rows of the annotations, which an error then names.

        Returns:
            Indices on the device of ``pred_spans``.

        Raises:
            NonFiniteLossError: a cost is NaN or infinite, or a window ends before it starts; names the samples.
        """
        counts = [len(windows) for windows in spans]
        costs = self._costs(pred_logits, pred_spans, spans).cpu().numpy()  # the only device-to-host transfer
        _check(costs, sample_index)
        found = [
            (layer, sample, *linear_sum_assignment(costs[layer, sample, :, :count]))
            for layer in range(len(costs))
            for sample, count in enumerate(counts)
        ]
        columns = [
            np.concatenate([np.full(len(query), layer) for layer, _, query, _ in found]),
            np.concatenate([np.full(len(query), sample) for _, sample, query, _ in found]),
            np.concatenate([query for _, _, query, _ in found]),
            np.concatenate([window for _, _, _, window in found]),
        ]
        indices = torch.from_numpy(np.stack(columns).astype(np.int64)).to(pred_spans.device)
        return Matching(*indices.unbind(0))

    def _costs(self, pred_logits: Tensor, pred_spans: Tensor, spans: list[Tensor]) -> Tensor:
        """(layers, B, Q, M) costs, M the most windows of a sample; columns beyond a sample's own mean nothing."""
        predicted = pred_spans.float().unsqueeze(3)
        target = pad_sequence([windows.to(predicted) for windows in spans], batch_first=True)[:, None]  # (B, 1, M, 2)
        distance = (predicted - target).abs().sum(-1)
        overlap = generalized_temporal_iou(span_cxw_to_xx(predicted), span_cxw_to_xx(target))
        foreground = pred_logits.float().softmax(-1)[..., FOREGROUND].unsqueeze(3)
        cost = self.set_cost_span * distance - self.set_cost_giou * overlap - self.set_cost_class * foreground
        # The transfer that carries the costs reports a bad label too: asking for it apart would wait for the device.
        return cost.masked_fill(target[..., 1] < 0, float("nan"))


def _check(costs: np.ndarray, sample_index: Tensor | None) -> None:
    bad = np.flatnonzero(~np.isfinite(costs).all(axis=(0, 2, 3)))
    if not len(bad):
        return
    names = [f"{row} of the batch" for row in bad[:5]]
    if sample_index is not None:
        rows = sample_index.tolist()
        names = [f"{name} (annotation row {rows[row]})" for name, row in zip(names, bad, strict=False)]
    raise NonFiniteLossError(
        f"matching cost of sample {', '.join(names)} ({len(bad)} in all): NaN or infinite; expected finite predictions "
        "and finite windows that end after they start. Lower the learning rate, add optim_wrapper.clip_grad, train "
        "without --amp, or run tools/check_data.py on the data set"
    )
