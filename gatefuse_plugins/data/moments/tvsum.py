"""TVSum: highlight detection in web videos by their titles (Song et al., CVPR 2015), as UMT and QD-DETR use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatefuse_plugins.data.base_annotations import check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.base import MomentDataset
from gatefuse_plugins.data.moments.labels import SaliencyLabels, tvsum_saliency
from gatefuse_plugins.data.moments.records import TVSUM_DOMAINS, MomentAnnotations, read_tvsum
from gatefuse_plugins.registry import DATASETS


@DATASETS.register_module()
class TVSumDataset(MomentDataset):
    """TVSum in UMT's layout: saliency labels only, no ``spans``; ``duration`` counts clips.

    Defaults that differ, after upstream: long videos (``max_v_l`` 1000), text features as they are (not normalised,
    all tokens), clips of length 1 in the unit of ``duration``.

    Args:
        domain: one of BK BT DS FM GA MS PK PR VT VU (one model is trained per domain), or None for all.
        **options: see :class:`MomentDataset`.
    """

    kind = "tvsum"

    def __init__(
        self,
        data_root: str | Path,
        split: str = "train",
        role: str = "train",
        domain: str | None = None,
        max_v_l: int = 1000,
        max_q_l: int = 1000,
        clip_length: float = 1.0,
        normalize_t: bool = False,
        **options: Any,
    ) -> None:
        if domain is not None:
            check_choice("domain", domain, TVSUM_DOMAINS)
        self.domain = domain
        options |= {"max_v_l": max_v_l, "max_q_l": max_q_l, "clip_length": clip_length, "normalize_t": normalize_t}
        super().__init__(data_root, split, role, **options)
        if domain is not None:
            self.subject += f" {domain}"
            self.identity["split"] = f"{split} {domain}"

    def read_annotations(self, path: Path, split: str, faults: Faults) -> MomentAnnotations:
        """The lines of ``path`` in the domain."""
        found = read_tvsum(path, faults)
        chosen = [row for row, record in enumerate(found.records) if self.domain in (None, record.get("domain"))]
        return found.subset(chosen)

    def check_labels(self, annotations: MomentAnnotations, faults: Faults) -> None:
        """Every line has a label; reading has checked it."""

    def expected_clips(self, record: dict[str, Any]) -> float:
        """The labelled clips."""
        return len(record["label"])

    def saliency(self, row: int, num_clips: int) -> SaliencyLabels:
        """From all annotators' scores."""
        return tvsum_saliency(self.annotations.records[row]["label"], num_clips)
