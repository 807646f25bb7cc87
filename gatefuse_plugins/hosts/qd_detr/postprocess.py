"""From network outputs to moments in seconds: clip to the duration, round to clips, sort, threshold, suppress.

Source: QD-DETR ``qd_detr/inference.py`` (``compute_mr_results``, ``post_processing_mr_nms``) and
``qd_detr/postprocessing_qd_detr.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, GatefuseError, suggestion
from gatefuse_plugins.hosts.qd_detr.matcher import FOREGROUND
from gatefuse_plugins.hosts.qd_detr.nms import temporal_nms
from gatefuse_plugins.hosts.qd_detr.spans import span_cxw_to_xx

Anchor = Literal["left", "center", "right"]
DECIMALS = 4  # of a submission file; upstream rounds before it clips, and times near half a clip depend on it


@dataclass(frozen=True)
class PostProcessor:
    """Windows (n, 3) [start s, end s, score] of every sample.

    Starts and ends become multiples of ``clip_length``, so an end may pass a duration that is no multiple itself, by
    half a clip at most; a window shorter than a clip may collapse to zero length and is kept (it matches nothing).

    Args:
        clip_length: seconds.
        sort: by score, best first; equal scores keep the order of the queries. False: upstream's ``no_sort_results``.
        conf_thd: windows that score less are dropped; a sample may then have none.
        nms_thd: IoU above which the worse window is dropped; negative: no suppression.
        max_before_nms: windows that enter the suppression.
        max_after_nms: windows that may leave it.
        max_time: latest end in seconds for every sample; None: the sample's own duration. Upstream: 150.
        min_w_l: shorter windows are lengthened to so many seconds; None, as in upstream's inference: left alone.
        max_w_l: longer ones are shortened; None: left alone.
        move_window_method: what stays in place where a length is changed.

    Raises:
        ConfigError: lists every option outside its range.
    """

    clip_length: float = 2.0
    sort: bool = True
    conf_thd: float = 0.0
    nms_thd: float = -1.0
    max_before_nms: int = 10
    max_after_nms: int = 10
    max_time: float | None = None
    min_w_l: float | None = None
    max_w_l: float | None = None
    move_window_method: Anchor = "left"

    def __post_init__(self) -> None:
        low, high = self.min_w_l or 0.0, float("inf") if self.max_w_l is None else self.max_w_l
        anchors = get_args(Anchor)
        near = suggestion(str(self.move_window_method), anchors)
        rules = [
            ("clip_length", self.clip_length > 0, "seconds above 0"),
            ("conf_thd", 0 <= self.conf_thd <= 1, "0 to 1"),
            ("nms_thd", self.nms_thd <= 1, "0 to 1, or a negative number for no suppression"),
            ("max_before_nms", self.max_before_nms >= 1, "at least 1"),
            ("max_after_nms", self.max_after_nms >= 1, "at least 1"),
            ("max_time", self.max_time is None or self.max_time > 0, "seconds above 0, or None"),
            ("min_w_l", 0 <= low <= high, "seconds from 0 to max_w_l, or None"),
            ("move_window_method", self.move_window_method in anchors, f"an anchor{near}"),
        ]
        faults = [f"{name}={getattr(self, name)!r}; expected {how}" for name, good, how in rules if not good]
        if faults:
            raise ConfigError("post-processing: " + "; ".join(faults))

    @torch.no_grad()
    def __call__(self, pred_logits: Tensor, pred_spans: Tensor, duration: Tensor) -> list[np.ndarray]:
        """Post-process a batch.

        Args:
            pred_logits: (B, Q, 2), class 0 is foreground.
            pred_spans: (B, Q, 2) as (center, width), normalised by the duration.
            duration: (B,) seconds.

        Returns:
            B float64 arrays (n, 3), times and scores with at most 4 decimals.

        Raises:
            GatefuseError: predictions or a duration are NaN or infinite; names the samples.
        """
        scores = pred_logits.float().softmax(-1)[..., FOREGROUND]
        times = span_cxw_to_xx(pred_spans.float()) * duration.to(scores)[:, None, None]
        rows = torch.cat([times, scores.unsqueeze(-1)], dim=-1).cpu().numpy().astype(np.float64)  # one transfer
        _check_finite(rows)
        if self.sort:
            rows = _by_score(rows)
        rows = rows.round(DECIMALS)
        latest = duration.double().cpu().numpy()[:, None, None] if self.max_time is None else self.max_time
        windows = self._limit_lengths(np.sort(rows[..., :2], axis=-1)).clip(0, latest)
        windows = np.round(windows / self.clip_length) * self.clip_length
        return self._select(np.concatenate([windows, rows[..., 2:]], axis=-1))

    def _limit_lengths(self, windows: np.ndarray) -> np.ndarray:
        """Windows (..., 2) with lengths between ``min_w_l`` and ``max_w_l``."""
        if self.min_w_l is None and self.max_w_l is None:
            return windows
        length = windows[..., 1] - windows[..., 0]
        wanted = length.clip(self.min_w_l, self.max_w_l)
        share = {"left": 0.0, "center": 0.5, "right": 1.0}[self.move_window_method]
        start = windows[..., 0] + share * (length - wanted)
        return np.stack([start, start + wanted], axis=-1)

    def _select(self, rows: np.ndarray) -> list[np.ndarray]:
        """The windows of each sample that pass the score threshold and the suppression."""
        keep = rows[..., 2] >= self.conf_thd
        if self.nms_thd >= 0:
            keep &= keep.cumsum(axis=1) <= self.max_before_nms
            order = np.argsort(np.where(keep, -rows[..., 2], np.inf), axis=1, kind="stable")
            rows, keep = np.take_along_axis(rows, order[..., None], 1), np.take_along_axis(keep, order, 1)
            keep = temporal_nms(rows[..., :2], self.nms_thd, keep)
            keep &= keep.cumsum(axis=1) <= self.max_after_nms
        return [windows[chosen] for windows, chosen in zip(rows, keep, strict=True)]


def build_postprocessor(options: Mapping[str, Any] | None) -> PostProcessor:
    """A post-processor from the options of a config; ``None``: the defaults.

    Raises:
        ConfigError: an option that does not exist, with the nearest that does, or a value outside its range.
    """
    names = [field.name for field in fields(PostProcessor)]
    unknown = [f"{name!r} is no option{suggestion(name, names)}" for name in options or {} if name not in names]
    if unknown:
        raise ConfigError("post-processing: " + "; ".join(unknown))
    return PostProcessor(**(options or {}))


@torch.no_grad()
def saliency_curves(saliency_scores: Tensor, video_mask: Tensor) -> list[np.ndarray]:
    """Scores (B, L) of the clips that exist under ``video_mask`` (B, L), as B float32 arrays.

    Args:
        saliency_scores: (B, L).
        video_mask: (B, L), True = clip exists.
    """
    return [
        row[valid] for row, valid in zip(saliency_scores.float().cpu().numpy(), video_mask.cpu().numpy(), strict=True)
    ]


def _by_score(rows: np.ndarray) -> np.ndarray:
    order = np.argsort(-rows[..., 2], axis=1, kind="stable")
    return np.take_along_axis(rows, order[..., None], axis=1)


def _check_finite(rows: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=(1, 2)))
    if len(bad):
        raise GatefuseError(
            f"predictions of sample {', '.join(map(str, bad[:5]))} of the batch ({len(bad)} in all): NaN or infinite, "
            "or their durations are; expected finite values. Check the checkpoint's weights and the features"
        )
