"""Gates of text-video retrieval, whose fusion runs when pairs are scored and not when a batch is encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor, nn

from gatefuse_plugins.analysis.gates.data import Sample, SampleId
from gatefuse_plugins.analysis.gates.sources import StoreGateData, described
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.hosts.avigate import AVIGATE
from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos
from gatefuse_plugins.hosts.avigate.scoring import embed_videos, score_pairs
from gatefuse_plugins.hosts.avigate.sets import join_predictions, tensors_of
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import ValuesSink

_BATCH = 32
_UNBOUNDED = 2**62  # bytes: a batch of pairs is small, and must pass the gates in one piece
OutcomesOf = Callable[[Runner, Any], tuple[dict[int, dict[str, float]], tuple[str, ...]]]


class _OwnPairs(nn.Module):
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


@torch.no_grad()
def record_pairs(
    runner: Runner, model: AVIGATE, taps: Mapping[str, GateTap], folder: str | Path, origin: str, outcomes: OutcomesOf
) -> tuple[StoreGateData, dict[SampleId, int], tuple[str, ...]]:
    """A sample is a video of the gallery with its first caption; its outcomes are the caption's.

    Where gates see no text these are the gates behind every score of the video. Where they do, each of the other
    captions gives the video other gates, and those are not recorded: texts x videos of them belong to no sample.
    """
    parts: list[dict[str, Tensor]] = []
    found, warnings = outcomes(runner, lambda number, batch, outputs: parts.extend(map(tensors_of, outputs)))
    info = runner.test_loop.dataloader.dataset.metainfo
    texts, videos = join_predictions(parts, len(info["captions"]), len(info["gallery"]))
    held, first = np.unique(info["target"], return_index=True)
    names, device = [str(info["gallery"][video]) for video in held], model.query_tokens.device
    training, pairs = model.training, _OwnPairs(model)
    model.eval()
    with GateStoreWriter(folder, taps) as writer:
        sink = ValuesSink(writer.append, half=True)
        with record_gates(pairs, list(taps) or "**", "moments", names, [sink]):
            for start in range(0, len(held), _BATCH):
                rows = slice(start, start + _BATCH)
                pairs(texts[first[rows]].to(device), videos[held[rows]].to(device))
    model.train(training)
    if model.text_conditioned:
        warnings += (
            f"The gates of this model see the text, so a video has other gates with each of {len(info['captions'])}"
            " captions. Recorded is each video with its own first caption; the gates of all other pairs belong to no"
            " sample and are in no figure here.",
        )
    samples = described(
        Sample(name, name, str(info["captions"][row]), found.get(int(row), {}))
        for name, row in zip(names, first, strict=True)
    )
    return (
        StoreGateData(folder, samples, origin),
        {name: int(row) for name, row in zip(names, first, strict=True)},
        warnings,
    )
