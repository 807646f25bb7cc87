"""Small models whose gates are healthy, collapsed or saturated, by construction, and a task on which they count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gatefuse_plugins.analysis.gates.outcomes import Outcomes
from gatefuse_plugins.analysis.gates.sources import StoreGateData
from gatefuse_plugins.analysis.gates.summary import GateSummary, summarise
from gatefuse_plugins.fusions import AvigateCustomFusion
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.tap import GateTap, gate_taps
from gatefuse_plugins.recording import GateStoreWriter, ValuesSink, record_gates

GAINS = {"healthy": 1.0, "collapsed": 1e-4, "saturated": 50.0}
"""By what the raw gate values are multiplied."""


class SoundScorer(Fusion):
    """Scores clips by picture plus gated sound; the gate sees whether the sound belongs to the picture.

    The attention gate, one a clip, decides which sound counts. The FFN gate, one a sample, adds the same to all clips
    and so changes no ranking.
    """

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.attention_tap = GateTap("attention", -1.0, 1.0, layer=0)
        self.ffn_tap = GateTap("ffn", -1.0, 1.0, layer=1)

    def forward(self, picture: Tensor, sound: Tensor, agreement: Tensor, mask: Tensor) -> Tensor:
        """Four (B, L) -> (B, L), -inf at padding."""
        gate = self.attention_tap(torch.tanh(self.gain * agreement)[..., None], mask)
        shared = (agreement * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        level = self.ffn_tap(torch.tanh(self.gain * shared / 2)[..., None])
        return (picture + gate[..., 0] * sound + level[..., 0]).masked_fill(~mask, -torch.inf)


@dataclass(frozen=True)
class SoundTask:
    """Clips of which one sounds right; another is as loud, but its sound does not belong there."""

    picture: Tensor
    sound: Tensor
    agreement: Tensor
    mask: Tensor
    target: Tensor
    video: tuple[int, ...]

    def batches(self, size: int = 16) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        for start in range(0, len(self.target), size):
            rows = slice(start, start + size)
            yield self.picture[rows], self.sound[rows], self.agreement[rows], self.mask[rows]

    def outcomes(self, model: SoundScorer, size: int = 16) -> Outcomes:
        """100 for every sample whose best clip is the right one."""
        with torch.no_grad():
            scores = torch.cat([model(*batch) for batch in self.batches(size)])
        hits = 100.0 * (scores.argmax(dim=1) == self.target).double().numpy()
        ids, odd = tuple(range(len(hits))), np.arange(len(hits)) % 2 == 1
        figures = {"hit": hits, "odd/hit": np.where(odd, hits, np.nan), "MeanR": 2 - hits / 100}
        return Outcomes(figures, ("hit",), "points", ids, self.video)


def sound_task(samples: int = 48, longest: int = 9) -> SoundTask:
    """Three samples a video; lengths from 4 to ``longest``."""
    generator = torch.Generator().manual_seed(3)
    shape = (samples, longest)
    lengths = torch.randint(4, longest + 1, (samples,), generator=generator)
    mask = torch.arange(longest) < lengths[:, None]
    order = torch.rand(shape, generator=generator).masked_fill(~mask, 2.0).argsort(dim=1)
    target, decoy, rows = order[:, 0], order[:, 1], torch.arange(samples)
    sound = torch.zeros(shape)
    sound[rows, target] = sound[rows, decoy] = 2.0
    agreement = 0.3 + torch.rand(shape, generator=generator)
    agreement[rows, decoy] = 0.03 - agreement[rows, decoy] / 5  # closer to neutral than all others, AUC 1
    picture = 0.3 * torch.randn(shape, generator=generator)
    return SoundTask(picture, sound, agreement, mask, target, tuple(int(row) // 3 for row in rows))


def sound_summary(model: SoundScorer, task: SoundTask, folder: Path) -> GateSummary:
    """Figures of the gates of ``model`` on ``task``, by way of a gate store."""
    with stored_gates(model, folder):
        for batch in task.batches():
            model(*batch)
    return summarise(StoreGateData(folder))


@contextlib.contextmanager
def stored_gates(model: nn.Module, folder: Path) -> Iterator[None]:
    """Every gate value of the block goes to a gate store."""
    with contextlib.ExitStack() as scopes:
        writer = scopes.enter_context(GateStoreWriter(folder, dict(gate_taps(model))))
        scopes.enter_context(record_gates(model, sinks=[ValuesSink(writer.append, half=True)]))
        scopes.enter_context(torch.no_grad())
        yield


def avigate_summary(gain: float, generation: str, gating_type: str, folder: Path) -> GateSummary:
    """Figures of an ``AvigateCustomFusion`` of two layers whose raw gate values are times ``gain``, on random clips."""
    torch.manual_seed(0)
    fusion = AvigateCustomFusion(
        dim=8, fusion_layers=2, fusion_n_heads=2, generation=generation, gating_type=gating_type
    ).eval()
    with torch.no_grad():
        for name, parameter in fusion.named_parameters():
            if ".mlp_" in name and ".2." in name:  # the gates' last layers
                parameter.mul_(8.0 * gain)
    video, audio = torch.randn(2, 40, 12, 8)
    mask = torch.arange(12) < torch.randint(5, 13, (40,))[:, None]
    with stored_gates(fusion, folder):
        fusion(video, audio, x_mask=mask, context_mask=mask)
    return summarise(StoreGateData(folder))
