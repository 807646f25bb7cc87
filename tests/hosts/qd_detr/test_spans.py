"""Span arithmetic by hand, and where lengths are zero."""

from __future__ import annotations

import pytest
import torch

from gatefuse_plugins.hosts.qd_detr.spans import (
    generalized_temporal_iou,
    span_cxw_to_xx,
    temporal_iou,
)


def test_ends_of_spans_by_hand() -> None:
    spans = torch.tensor([[[0.5, 1.0], [0.3, 0.2]]])
    torch.testing.assert_close(span_cxw_to_xx(spans), torch.tensor([[[0.0, 1.0], [0.2, 0.4]]]))


def test_overlaps_by_hand_for_all_pairs() -> None:
    first, second = torch.tensor([[0.0, 0.2], [0.5, 1.0]]), torch.tensor([[0.0, 0.3], [0.0, 1.0]])
    iou, union = temporal_iou(first[:, None], second)
    torch.testing.assert_close(iou, torch.tensor([[2 / 3, 0.2], [0.0, 0.5]]))
    torch.testing.assert_close(union, torch.tensor([[0.3, 1.0], [0.8, 1.0]]))
    giou = generalized_temporal_iou(first[:, None], second)
    torch.testing.assert_close(giou, torch.tensor([[2 / 3, 0.2], [-0.2, 0.5]]))


def test_half_precision_is_computed_in_float32() -> None:
    spans = torch.tensor([[100.0, 100.25], [100.125, 100.25]], dtype=torch.float16)
    assert generalized_temporal_iou(spans[:1], spans[1:]).dtype == torch.float32


@pytest.mark.parametrize("other", [[0.5, 0.5], [0.2, 0.7], [0.1, 0.1]])
def test_zero_length_has_finite_values_and_gradients(other: list[float]) -> None:
    point = torch.tensor([0.5, 0.5], requires_grad=True)
    iou, _ = temporal_iou(point, torch.tensor(other))
    giou = generalized_temporal_iou(point, torch.tensor(other))
    (iou + giou).backward()
    assert iou.item() == 0 and torch.isfinite(point.grad).all()
    assert giou.item() == {0.5: 0.0, 0.2: 0.0, 0.1: -1.0}[other[0]]
