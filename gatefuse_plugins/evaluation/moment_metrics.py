"""mmengine metrics of moment retrieval and highlight detection: collect predictions, score them once at the end.

What is scored is what a submission file holds, so that ``tools/evaluate.py`` gives the same figures for that file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.moment_labels import field, shown
from gatefuse_plugins.evaluation.moment_retrieval import mean_top1_iou
from gatefuse_plugins.evaluation.moment_submission import write_submission_lines
from gatefuse_plugins.evaluation.qvhighlights import metrics_by_kind, qvhighlights_metrics
from gatefuse_plugins.evaluation.tvsum import tvsum_metrics
from gatefuse_plugins.registry import METRICS

KIND_KEY = "query_kind"
KIND_METRICS = ("MR-full-R1@0.5", "MR-full-R1@0.7", "MR-full-mAP", "HL-min-VeryGood-mAP", "HL-min-VeryGood-Hit1")


class MomentMetric(BaseMetric):
    """Collects a host's predictions query by query; subclasses score them.

    ``process`` takes the host's ``predict`` output, dicts with ``sample_index`` (B,), ``saliency`` (B arrays, a score a
    valid clip) and, where the host retrieves moments, ``windows`` (B arrays (n, 3) of start s, end s, score).

    Args:
        submission_file: write the predictions there (``.jsonl``, atomically) after each evaluation. A split without
            labels can only be evaluated this way; it gives no metrics.
        half_saliency: round saliency to float16, as upstream does before it scores (rounding makes ties).
    """

    label: str
    """Key of the annotations without which there is no metric."""

    def __init__(
        self,
        submission_file: str | Path | None = None,
        half_saliency: bool = False,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.submission_file = submission_file
        self.half_saliency = half_saliency

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        for sample in data_samples:
            if missing := {"sample_index", "saliency"} - sample.keys():
                raise DataError(f"a prediction holds {sorted(sample)}, it lacks {', '.join(sorted(missing))}")
            rows = [int(row) for row in sample["sample_index"]]
            columns = {
                key: [_array(value) for value in sample[key]] for key in ("windows", "saliency") if key in sample
            }
            for key, values in columns.items():
                if len(values) != len(rows):
                    raise DataError(f"a prediction holds {len(values)} {key} for {len(rows)} sample_index")
            for place, row in enumerate(rows):
                self.results.append((row, {key: values[place] for key, values in columns.items()}))

    def compute_metrics(self, results: Sequence[tuple[int, Mapping[str, NDArray[Any]]]]) -> dict[str, float]:
        annotations = self.meta("annotations")
        labelled = field(annotations, self.label)
        if not labelled and self.submission_file is None:
            raise DataError(
                f"the annotations hold no {self.label}, so no metric exists; set submission_file of "
                f"{type(self).__name__} to write the predictions"
            )
        lines = self.submission(dict(results), annotations)
        if self.submission_file is not None:
            write_submission_lines(self.submission_file, lines)
            print_log(f"submission: {self.submission_file}", logger="current")
        return self.score(lines, annotations) if labelled else {}

    def score(self, lines: list[dict[str, Any]], annotations: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Figures of the submission's ``lines``, which are in the order of ``annotations``."""
        raise NotImplementedError

    def meta(self, key: str) -> Any:
        """One entry of the dataset's metainfo; DataError where the dataset does not give it."""
        meta = self.dataset_meta or {}
        if key not in meta:
            raise DataError(
                f"{type(self).__name__} needs {key!r} in the dataset's metainfo, which holds {sorted(meta)}"
            )
        return meta[key]

    def submission(
        self, predictions: Mapping[int, Mapping[str, NDArray[Any]]], annotations: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """A submission line of every annotation; DataError where a prediction is missing, strange or not finite."""
        if strange := [row for row in predictions if not 0 <= row < len(annotations)]:
            raise DataError(f"sample_index {shown(strange)} is outside the {len(annotations)} annotations")
        if missing := [entry["qid"] for row, entry in enumerate(annotations) if row not in predictions]:
            raise DataError(
                f"{len(missing)} of {len(annotations)} predictions never arrived (qid {shown(missing)}); "
                "does the sampler visit every sample?"
            )
        return [self._line(predictions[row], entry) for row, entry in enumerate(annotations)]

    def _line(self, prediction: Mapping[str, NDArray[Any]], annotation: Mapping[str, Any]) -> dict[str, Any]:
        if strange := [key for key, values in prediction.items() if not np.isfinite(values).all()]:
            raise DataError(
                f"qid {annotation['qid']!r}: predicted {strange[0]} holds NaN or infinity; weights or input do"
            )
        line = {key: annotation[key] for key in ("qid", "query", "vid")}
        if "windows" in prediction:
            line["pred_relevant_windows"] = np.round(prediction["windows"].astype(np.float64), 4).tolist()
        saliency = prediction["saliency"].astype(np.float16) if self.half_saliency else prediction["saliency"]
        return line | {"pred_saliency_scores": saliency.tolist()}


@METRICS.register_module()
class QVHighlightsMetric(MomentMetric):
    """The official brief figures, ``MR-full-mIoU``, and ``{kind}/...`` where annotations hold ``query_kind``.

    Upstream keeps the checkpoint of the highest ``MR-full-mAP``. Options: see :class:`MomentMetric`.
    """

    default_prefix = "qvhighlights"
    label = "relevant_windows"

    def score(self, lines: list[dict[str, Any]], annotations: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        clip_length = float(self.meta("clip_length"))
        metrics = dict(qvhighlights_metrics(lines, annotations, clip_length)["brief"])
        if "MR-full-mAP" in metrics:
            metrics["MR-full-mIoU"] = mean_top1_iou(lines, annotations)
        if field(annotations, KIND_KEY):
            for kind, nested in metrics_by_kind(lines, annotations, KIND_KEY, clip_length).items():
                metrics |= {f"{kind}/{name}": nested["brief"][name] for name in KIND_METRICS if name in nested["brief"]}
        return metrics


@METRICS.register_module()
class TVSumMetric(MomentMetric):
    """Top-5 mAP: ``mAP`` over the domains of the split, ``BK_mAP`` and so on. Options: see :class:`MomentMetric`."""

    default_prefix = "tvsum"
    label = "label"

    def score(self, lines: list[dict[str, Any]], annotations: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return tvsum_metrics(lines, annotations)


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().float().cpu().numpy()  # numpy has no bfloat16
    return np.asarray(value)
