"""Gates of text-video retrieval, whose fusion runs when pairs are scored and not when a batch is encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatefuse_plugins.hosts.avigate import AVIGATE
from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos
from gatefuse_plugins.hosts.avigate.scoring import embed_videos, score_pairs
from gatefuse_plugins.hosts.avigate.sets import join_predictions
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.sinks import GateSink

_BATCH = 32
_UNBOUNDED = 2**62  # bytes: a batch of pairs is small, and must pass the gates in one piece


@dataclass(frozen=True)
class OwnPairs:
    """Each video of a gallery with its first caption; videos without a caption are left out.

    Attributes:
        videos: (N,) int64, rows of the gallery, ascending.
        texts: (N,) int64, row of each one's first caption.
        names: N ids of the videos.
        sizes: captions and videos of the whole set.
    """

    videos: NDArray[np.int64]
    texts: NDArray[np.int64]
    names: tuple[str, ...]
    sizes: tuple[int, int]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> OwnPairs:
        """Of a data set's ``metainfo`` with ``captions``, ``gallery`` and ``target``."""
        videos, texts = np.unique(np.asarray(info["target"], np.int64), return_index=True)
        names = tuple(str(info["gallery"][video]) for video in videos)
        return cls(videos, texts.astype(np.int64), names, (len(info["captions"]), len(info["gallery"])))

    def __len__(self) -> int:
        return len(self.names)


@torch.no_grad()
def record_own_pairs(
    model: AVIGATE,
    taps: Sequence[str],
    pairs: OwnPairs,
    predictions: Iterable[Mapping[str, Tensor]],
    ids: Sequence[Any],
    sink: GateSink,
) -> bool:
    """Pass each of the first ``len(ids)`` pairs through the fusion once.

    Where gates see no text these are the gates behind every score of the video. Where they do, each of the other
    captions gives the video other gates, and those are not recorded: texts x videos of them belong to no sample.

    Args:
        model: the gates are its.
        taps: names of those that are recorded; none takes all.
        pairs: of the data set.
        predictions: ``predict`` outputs of the whole data set, see :func:`join_predictions`.
        ids: what ``sink`` gets for each pair.
        sink: takes the values.

    Returns:
        Whether a value has passed any of the gates.

    Raises:
        DataError: a prediction is missing.
    """
    texts, videos = join_predictions(predictions, *pairs.sizes)
    device, training, host = model.query_tokens.device, model.training, _PairHost(model)
    model.eval()
    try:
        with record_gates(host, list(taps) or "**", "moments", ids, [sink], warn=False) as gates:
            for start in range(0, len(ids), _BATCH):
                rows = slice(start, min(start + _BATCH, len(ids)))
                host(texts[pairs.texts[rows]].to(device), videos[pairs.videos[rows]].to(device))
    finally:
        model.train(training)
    return gates.passed


class _PairHost(nn.Module):
    """Fuses each video once: with its own text where gates see text, else alone."""

    def __init__(self, network: AVIGATE) -> None:
        super().__init__()
        self._network = (network,)  # no child: its gates keep the names that they have in the model
        for name, part in network.named_children():
            self.add_module(name, part)

    def forward(self, texts: EncodedTexts, videos: EncodedVideos) -> None:
        (network,) = self._network
        if network.text_conditioned:
            rows = torch.arange(len(videos), device=videos.frames.device)
            score_pairs(network, texts, videos, rows, rows, _UNBOUNDED)
        else:
            embed_videos(network, videos, _UNBOUNDED)
