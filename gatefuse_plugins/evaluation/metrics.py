"""mmengine metrics of composed retrieval: collect features batch by batch, rank once at the end."""

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
from gatefuse_plugins.evaluation.composed import category_blocks, cirr_ranks, cirr_summary, fashioniq_summary
from gatefuse_plugins.evaluation.recall import target_ranks
from gatefuse_plugins.evaluation.similarity import CHUNK_ELEMENTS, assemble, max_token_similarity
from gatefuse_plugins.evaluation.submission import write_submission
from gatefuse_plugins.registry import METRICS

_FEATURES = ("image_features", "image_index", "query_features", "query_index")


class ComposedRetrievalMetric(BaseMetric):
    """Collects a host's features; subclasses rank them.

    ``process`` takes the host's ``predict`` output: dicts with ``image_features`` (n, Q, E) and ``image_index`` (n,)
    and/or ``query_features`` (m, E) and ``query_index`` (m,). They are kept on the CPU in the dtype they come in.

    Args:
        keep_ranks: keep each query's ranks of the last evaluation in :attr:`ranks` (main process), for reports.
        chunk: bound of float32 elements in a temporary of :func:`max_token_similarity`.
    """

    def __init__(
        self,
        keep_ranks: bool = False,
        chunk: int = CHUNK_ELEMENTS,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.keep_ranks = keep_ranks
        self.chunk = chunk
        self.ranks: dict[str, NDArray[np.int64]] = {}

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, torch.Tensor]]) -> None:
        for sample in data_samples:
            kept = {key: sample[key].detach().cpu() for key in _FEATURES if sample.get(key) is not None}
            if not kept:
                raise DataError(f"a prediction holds {sorted(sample)}, expected some of {', '.join(_FEATURES)}")
            self.results.append(kept)

    def meta(self, key: str) -> Any:
        """One entry of the dataset's metainfo; DataError where the dataset does not give it."""
        meta = self.dataset_meta or {}
        if key not in meta:
            raise DataError(
                f"{type(self).__name__} needs {key!r} in the dataset's metainfo, which holds {sorted(meta)}; "
                "evaluate a dataset of role 'eval'"
            )
        return meta[key]

    def features(self, results: Sequence[Mapping[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries (Nq, E) and gallery (Ng, Q, E); DataError where one never arrived."""
        gallery = assemble(results, "image_features", "image_index", len(self.meta("gallery")), "gallery image")
        queries = assemble(results, "query_features", "query_index", len(self.meta("reference")), "query")
        return queries, gallery


@METRICS.register_module()
class CIRRMetric(ComposedRetrievalMetric):
    """CIRR's recalls (:func:`~gatefuse_plugins.evaluation.composed.cirr_metrics`) and its test-server files.

    Args:
        submission_dir: write ``recall.json`` and ``recall_subset.json`` there after each evaluation. A split without
            targets (test1) can only be evaluated this way; it gives no metrics.
        **options: see :class:`ComposedRetrievalMetric`.
    """

    default_prefix = "cirr"

    def __init__(self, submission_dir: str | Path | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.submission_dir = submission_dir

    def compute_metrics(self, results: list[dict[str, torch.Tensor]]) -> dict[str, float]:
        reference, target, members = (np.asarray(self.meta(key)) for key in ("reference", "target", "members"))
        unknown = int((target < 0).sum())
        if unknown and self.submission_dir is None:
            raise DataError(
                f"{unknown} of {target.size} targets are unknown, so no metric exists; "
                "for test1 set submission_dir of CIRRMetric to write the files for the test server"
            )
        if 0 < unknown < target.size:
            raise DataError(f"{unknown} of {target.size} targets are unknown; a split has either all targets or none")
        similarity = max_token_similarity(*self.features(results), chunk=self.chunk).numpy()
        if self.submission_dir is not None:
            written = write_submission(
                self.submission_dir,
                similarity,
                pairid=self.meta("pairid"),
                gallery=self.meta("gallery"),
                reference=reference,
                members=members,
            )
            print_log(f"CIRR submission: {written[0]} and {written[1]}", logger="current")
        if unknown:
            return {}
        ranks, in_subset = cirr_ranks(similarity, reference, target, members)
        if self.keep_ranks:
            self.ranks = {"rank": ranks, "subset_rank": in_subset}
        return cirr_summary(ranks, in_subset)


@METRICS.register_module()
class FashionIQMetric(ComposedRetrievalMetric):
    """FashionIQ's recalls (:func:`~gatefuse_plugins.evaluation.composed.fashioniq_metrics`), one category at a time.

    The dataset's metainfo gives ``category`` (Nq,) and ``gallery_category`` (Ng,) as indices into ``categories``.
    Options: see :class:`ComposedRetrievalMetric`.
    """

    default_prefix = "fashioniq"

    def compute_metrics(self, results: list[dict[str, torch.Tensor]]) -> dict[str, float]:
        target, category = np.asarray(self.meta("target")), np.asarray(self.meta("category"))
        if unknown := int((target < 0).sum()):
            raise DataError(
                f"{unknown} of {target.size} targets are unknown, so no metric exists; evaluate split 'val'"
            )
        blocks = category_blocks(target, category, np.asarray(self.meta("gallery_category")), self.meta("categories"))
        queries, gallery = self.features(results)
        ranks: dict[str, NDArray[np.int64]] = {}
        for name, rows, columns, local_target in blocks:
            # Category by category the similarity stays a third as wide as the joined gallery.
            similarity = max_token_similarity(queries[rows], gallery[columns], chunk=self.chunk)
            ranks[name] = target_ranks(similarity.numpy(), local_target)
        if self.keep_ranks:
            joined = np.empty(target.size, np.int64)
            for name, rows, _, _ in blocks:
                joined[rows] = ranks[name]
            self.ranks = {"rank": joined}
        return fashioniq_summary(ranks)
