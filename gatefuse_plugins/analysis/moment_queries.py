"""What a moment-retrieval model sees in single queries: its windows, saliency and gates beside the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from numpy.typing import NDArray
from torch import Tensor, nn

from gatefuse_plugins.data.events import off_topic_mask
from gatefuse_plugins.data.moments.base import MomentDataset
from gatefuse_plugins.errors import DataError, nearest
from gatefuse_plugins.evaluation.moment_labels import clip_labels
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.off_topic import AUDIO_KINDS, openness
from gatefuse_plugins.recording.recorder import find_taps

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class GateCurve:
    """What passed one tap in one query.

    Attributes:
        name: dotted name of the tap.
        kind, layer: of the tap.
        neutral: where the curve lies if the gate changes nothing.
        values: (L,) a clip; (1,) for a gate of one value a sample. Where the gate has a value a channel, the mean over
            channels of its distance from the tap's neutral value.
        distance: whether ``values`` are such distances.
    """

    name: str
    kind: str
    layer: int | None
    neutral: float
    values: Curve
    distance: bool


@dataclass(frozen=True)
class MomentQuery:
    """One query of a moment-retrieval data set as a model answers it.

    Attributes:
        qid, query, vid: of the annotation.
        clip_length: of a clip, in ``unit``.
        unit: ``seconds``; ``clips`` where the durations of the annotations count clips, as TVSum's do.
        true_windows: (n, 2) seconds; None where the annotation has none.
        windows: (m, 3) predicted [start s, end s, score], best first; no row from a host that retrieves no moments.
        saliency: (L,) predicted, a score a clip.
        annotated: (C,) mean over annotators, a clip; None where unlabelled. C may differ from L, where features do.
        off_topic: (L,) True where the audio does not belong to the picture; None outside embedded sets.
        gates: curves of the attention and FFN gates, in the model's order.
    """

    qid: int | str
    query: str
    vid: str
    clip_length: float
    unit: str
    true_windows: Curve | None
    windows: Curve
    saliency: Curve
    annotated: Curve | None
    off_topic: NDArray[np.bool_] | None
    gates: tuple[GateCurve, ...]


def choose_rows(
    annotations: Sequence[Mapping[str, Any]], count: int | None = None, qids: Sequence[int | str] | None = None
) -> list[int]:
    """Rows of the ``qids`` (compared as text, in their order), else of the first ``count`` annotations.

    Raises:
        DataError: names the qids that no annotation has, each with the nearest.
    """
    if qids is None:
        return list(range(len(annotations)))[:count]
    rows = {str(entry["qid"]): row for row, entry in enumerate(annotations)}
    if unknown := [str(qid) for qid in qids if str(qid) not in rows]:
        near = (f"qid {qid} (nearest: {', '.join(nearest(qid, rows, 1)) or 'none'})" for qid in unknown)
        raise DataError(f"in none of the {len(rows)} annotations: {', '.join(near)}")
    return [rows[str(qid)] for qid in qids]


@torch.no_grad()
def analyse_queries(model: BaseModel, dataset: MomentDataset, rows: Sequence[int]) -> list[MomentQuery]:
    """Run ``model`` on single samples of ``dataset`` and gather what it predicts and how its gates stand.

    Each sample is a batch of its own, so nothing is padded. The model is left in evaluation mode.

    Args:
        model: a host whose ``test_step`` gives windows and saliency, such as ``QDDETR``.
        dataset: role ``eval``.
        rows: of ``dataset.metainfo['annotations']``.

    Raises:
        DataError: features cannot be read, or a row's labels contradict its duration.
    """
    model.eval()
    masks = off_topic_mask(dataset.data_root) if dataset.metainfo["identity"]["embedded"] else {}
    taps = {name: tap for name, tap in find_taps(model).items() if tap.kind in AUDIO_KINDS}
    return [_analyse(model, dataset, row, taps, masks) for row in rows]


def _analyse(
    model: BaseModel,
    dataset: MomentDataset,
    row: int,
    taps: Mapping[str, GateTap],
    masks: Mapping[str, NDArray[np.bool_]],
) -> MomentQuery:
    passed: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, tap in taps.items():
            hooks.callback(tap.register_forward_hook(_keep(passed, name)).remove)
        (prediction,) = model.test_step(dataset.__getitems__([row]))
    saliency = np.asarray(prediction["saliency"][0], np.float64)
    entry, clips = dataset.metainfo["annotations"][row], len(saliency)
    true_windows, mask = entry.get("relevant_windows"), masks.get(str(entry["vid"]))
    return MomentQuery(
        qid=entry["qid"],
        query=entry["query"],
        vid=entry["vid"],
        clip_length=dataset.clip_length,
        unit="clips" if entry.get("label") is not None and dataset.clip_length == 1 else "seconds",
        true_windows=None if true_windows is None else np.asarray(true_windows, np.float64).reshape(-1, 2),
        windows=np.asarray(prediction["windows"][0], np.float64).reshape(-1, 3),
        saliency=saliency,
        annotated=_annotated_saliency(entry, dataset.clip_length),
        off_topic=None if mask is None else mask[:clips],
        gates=tuple(_curve(name, taps[name], passed[name], clips) for name in taps if name in passed),
    )


def _keep(passed: dict[str, Tensor], name: str) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], value: Tensor) -> None:
        passed[name] = value

    return hook


def _curve(name: str, tap: GateTap, value: Tensor, clips: int) -> GateCurve:
    """The curve of a gate (1, L or 1, D or 1)."""
    distance = value.shape[-1] > 1
    values = (openness(value, tap.neutral) if distance else value.float().squeeze(-1))[0].cpu().double().numpy()
    if len(values) > 1:
        values = values[-clips:]  # QD-DETR's encoder has a global token in front of the clips
    return GateCurve(name, tap.kind, tap.layer, 0.0 if distance else tap.neutral, values, distance)


def _annotated_saliency(entry: Mapping[str, Any], clip_length: float) -> Curve | None:
    """Mean over annotators, (clips,): TVSum's ``label``, or QVHighlights' scores with 0 for all other clips."""
    if entry.get("label") is not None:
        return np.asarray(entry["label"], np.float64).mean(axis=1)
    if entry.get("saliency_scores") is None:
        return None
    labels, valid = clip_labels([entry], clip_length)
    return labels.mean(axis=0)[valid]
