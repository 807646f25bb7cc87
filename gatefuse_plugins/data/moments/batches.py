"""Batches of a moment-retrieval set: features stacked by a :class:`BatchBuilder`, and labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.collate import BatchedDataset
from gatefuse_plugins.data.moments.batching import BatchBuilder, Sample
from gatefuse_plugins.data.moments.labels import SaliencyLabels, drop_tokens
from gatefuse_plugins.data.moments.records import MomentAnnotations
from gatefuse_plugins.errors import DataError


class MomentBatches(BatchedDataset):
    """Items of a moment-retrieval set; :class:`MomentDataset` says what a batch holds.

    Attributes:
        annotations: records and windows, one item each.
        builder: reads and stacks their features.
        clip_tolerance: clips by which features may differ from what the annotation states.
        load_labels: batches hold labels.
        text_drop_ratio: part of the tokens that is zeroed.
    """

    annotations: MomentAnnotations
    builder: BatchBuilder
    clip_tolerance: int
    load_labels: bool
    text_drop_ratio: float

    @abstractmethod
    def expected_clips(self, record: dict[str, Any]) -> float:
        """How many clips the annotation states."""

    @abstractmethod
    def saliency(self, row: int, num_clips: int) -> SaliencyLabels:
        """Saliency labels of one sample whose features have ``num_clips`` clips."""

    def spans(self, row: int, num_clips: int) -> Tensor | None:
        """Normalised windows (n, 2) of one sample, or None where the data set has none."""
        return None

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """One collated batch, in the order of ``indices``."""
        rows = self.rows_of(indices)
        faults = Faults()
        samples: list[Sample] = []
        for row in rows:
            samples += self._sample(self.annotations.records[row], faults)
        faults.raise_if_any(self.subject)
        counts = [sample.num_clips for sample in samples]
        batch: dict[str, Any] = dict(self.builder.stack(samples))
        if self.text_drop_ratio:
            for text, mask in zip(batch["text"], batch["text_mask"], strict=True):
                drop_tokens(text[: int(mask.sum())], self.text_drop_ratio)
        batch["duration"] = torch.tensor([float(self.annotations.records[row]["duration"]) for row in rows])
        batch["sample_index"] = torch.from_numpy(rows)
        return batch | self._labels(rows, counts) if self.load_labels else batch

    def _sample(self, record: dict[str, Any], faults: Faults) -> list[Sample]:
        """The sample, or none and a fault."""
        try:
            sample = self.builder.read(record["vid"], str(record["qid"]))
        except DataError as error:
            faults.add("features that cannot be used (tools/check_data.py lists all)", error)
            return []
        stated = min(self.expected_clips(record), self.builder.max_clips)
        if abs(sample.num_clips - stated) > self.clip_tolerance:
            kind = f"videos whose features contradict the annotation by over clip_tolerance={self.clip_tolerance} clips"
            faults.add(kind, f"{record['vid']} (qid {record['qid']}): {sample.num_clips} clips, stated {stated:g}")
        return [sample]

    def _labels(self, rows: np.ndarray, counts: Sequence[int]) -> dict[str, Any]:
        saliency = [self.saliency(int(row), count) for row, count in zip(rows, counts, strict=True)]
        scores = np.zeros((len(rows), max(counts)), dtype=np.float32)
        for place, labels in zip(scores, saliency, strict=True):
            place[: len(labels.scores)] = labels.scores
        found: dict[str, Any] = {
            "saliency_pos": torch.tensor([labels.positive for labels in saliency]),
            "saliency_neg": torch.tensor([labels.negative for labels in saliency]),
            "saliency_labels": torch.from_numpy(scores),
        }
        spans = [self.spans(int(row), count) for row, count in zip(rows, counts, strict=True)]
        return found if spans[0] is None else found | {"spans": spans}
