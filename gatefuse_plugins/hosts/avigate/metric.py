"""mmengine metric of text-video retrieval: collect encoded sets batch by batch, score their pairs once at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.evaluation.recall import target_ranks
from gatefuse_plugins.evaluation.video import video_summary, video_to_text_ranks
from gatefuse_plugins.hosts.avigate.scoring import two_stage_scores
from gatefuse_plugins.hosts.avigate.sets import join_predictions, tensors_of
from gatefuse_plugins.registry import METRICS


@METRICS.register_module()
class MSRVTTMetric(BaseMetric):
    """Recalls and ranks in both directions, see :func:`~gatefuse_plugins.evaluation.video.video_summary`.

    ``process`` takes the host's ``predict`` output. Every text is scored against every video fused with that text, by
    the ``scorer`` that the output names; where its gates see no text, each video is fused once. The main process scores
    for all ranks. A video with several captions (split ``train``) is found by the best of them.

    Args:
        rerank: score a query's ``rerank`` best candidates of a text-free first stage alone, for large galleries.
            ``None`` scores all pairs.
        max_bytes: bound on the temporaries of scoring, see :func:`score_all_pairs`.

    Raises:
        ConfigError: ``rerank`` or ``max_bytes`` is no int of at least 1.
    """

    default_prefix = "msrvtt"

    def __init__(
        self,
        rerank: int | None = None,
        max_bytes: int | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        for name, value in (("rerank", rerank), ("max_bytes", max_bytes)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError(f"MSRVTTMetric: {name}={value!r}, expected None or an int of at least 1")
        self.rerank, self.max_bytes = rerank, max_bytes
        self._scorer: Any = None

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        for sample in data_samples:
            if "scorer" not in sample or not {"video_index", "text_index"} & sample.keys():
                raise DataError(
                    f"a prediction holds {sorted(sample)}, expected scorer with video_index or text_index; "
                    "evaluate a dataset of role 'eval'"
                )
            self._scorer = sample["scorer"]
            self.results.append(tensors_of(sample))

    def compute_metrics(self, results: list[dict[str, Tensor]]) -> dict[str, float]:
        return video_summary(*self.ranks(results))

    @torch.no_grad()
    def ranks(self, results: list[dict[str, Tensor]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rank of each text's video (T,), and of each video's best caption (V,), from 1.

        Raises:
            DataError: the data set's metainfo lacks gallery or target, or results lack some of them.
        """
        meta = self.dataset_meta or {}
        if lacking := {"gallery", "target"} - meta.keys():
            raise DataError(f"MSRVTTMetric needs {', '.join(sorted(lacking))} in the metainfo, found {sorted(meta)}")
        target = np.asarray(meta["target"])
        texts, videos = join_predictions(results, len(target), len(meta["gallery"]))
        device = next(self._scorer.parameters()).device
        sets = (texts.to(device), videos.to(device))
        if self.rerank is None:
            by_text = by_video = _array(self._scorer.score(*sets, self.max_bytes))
        else:
            by_text, by_video = (
                _array(two_stage_scores(self._scorer, *sets, self.rerank, direction, self.max_bytes))
                for direction in ("text_to_video", "video_to_text")
            )
        return target_ranks(by_text, target), video_to_text_ranks(by_video, target)


def _array(scores: Tensor) -> np.ndarray:
    return scores.float().cpu().numpy()
