"""QVHighlights: moments and highlights in videos by natural-language queries (Lei et al., NeurIPS 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.base import MomentDataset
from gatefuse_plugins.data.moments.labels import (
    RankedClips,
    SaliencyLabels,
    annotated_saliency,
    rank_clips,
    span_labels,
    visible_windows,
    window_saliency,
)
from gatefuse_plugins.data.moments.records import MomentAnnotations, read_qvhighlights
from gatefuse_plugins.registry import DATASETS

SUBTITLES = "subs_train"


@DATASETS.register_module()
class QVHighlightsDataset(MomentDataset):
    """QVHighlights in the layout of moment_detr and QD-DETR.

    Splits ``train``, ``val``, ``test`` (no labels in the real release), ``test_with_gt`` (labels released since), and
    ``subs_train``: ASR pre-training lines, whose saliency labels come from their first window and whose text features
    lie in ``clip_sub_features``. A file named ``subs_train*`` is read as such, upstream's rule.

    Features longer than ``max_v_l`` are cut; windows beyond the cut are cut or left out of the labels, and a training
    query that has none left is an error.

    Args:
        max_windows: of more windows, as many are chosen at random in each batch.
        **options: see :class:`MomentDataset`.
    """

    kind = "qvhighlights"

    def __init__(
        self, data_root: str | Path, split: str = "train", role: str = "train", max_windows: int = 5, **options: Any
    ) -> None:
        self.max_windows = max_windows
        self._ranked: dict[tuple[int, int], RankedClips] = {}  # the same in every epoch
        super().__init__(data_root, split, role, **options)

    def read_annotations(self, path: Path, split: str, faults: Faults) -> MomentAnnotations:
        """The lines of ``path``."""
        return read_qvhighlights(path, self.clip_length, faults, self._subtitles(path))

    def check_labels(self, annotations: MomentAnnotations, faults: Faults) -> None:
        """Labels must be there, and in reach of ``max_v_l``."""
        if not annotations.labelled:
            faults.add("no labels (relevant_windows) there, so only role='eval' without them works", annotations.path)
            return
        reach = self.max_v_l * self.clip_length
        beyond = [
            f"qid {record['qid']}"
            for record, windows in zip(annotations.records, annotations.windows, strict=True)
            if len(windows) and not len(visible_windows(windows, reach))
        ]
        faults.add(f"queries whose windows all start after max_v_l={self.max_v_l} clips; raise it", *beyond)

    def text_modality(self, path: Path) -> str:
        """Subtitles have text features of their own."""
        return "subtitles" if self._subtitles(path) else "text"

    def expected_clips(self, record: dict[str, Any]) -> float:
        """The duration in clips."""
        return record["duration"] / self.clip_length

    def saliency(self, row: int, num_clips: int) -> SaliencyLabels:
        """From annotators' scores, or from the first window of ASR lines."""
        if self._subtitles(self.annotations.path):
            return window_saliency(self.annotations.windows[row][0], num_clips, self.clip_length)
        ranked = self._ranked.get((row, num_clips))
        if ranked is None:
            record = self.annotations.records[row]
            ranked = rank_clips(record["relevant_clip_ids"], record["saliency_scores"], num_clips)
            self._ranked[row, num_clips] = ranked
        return annotated_saliency(ranked)

    def spans(self, row: int, num_clips: int) -> Tensor:
        """The windows in reach, normalised by what ``num_clips`` clips cover."""
        windows, reach = self.annotations.windows[row], self.max_v_l * self.clip_length
        if windows.max() > reach:
            windows = visible_windows(windows, reach)
        return span_labels(windows, num_clips, self.clip_length, self.max_windows)

    @staticmethod
    def _subtitles(path: Path) -> bool:
        return SUBTITLES in path.name
