"""A uniform sample of fixed size from a stream of unknown length, for quantiles, histogram and entropy.

Every value gets a random priority; those with the smallest ones stay (bottom-k sampling, Cohen and Kaplan, "Summarizing
data using bottom-k sketches", PODC 2007). Samples of disjoint streams merge into a sample of their union.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatefuse_plugins.recording.running_moments import as_rows

CAPACITY = 8192


def rank_error(size: int) -> float:
    """Bound of the rank error of every quantile from ``size`` sampled values, kept with 95 % probability.

    The Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant: sqrt(ln(2 / 0.05) / (2 size)), 0.015 at 8192. The
    share of any histogram bin is off by at most twice that.
    """
    return math.sqrt(math.log(40) / (2 * size)) if size else math.nan


@dataclass(frozen=True)
class Drawn:
    """A sample on the host: values and their priorities, all of them below ``rate``, the share that was drawn."""

    values: NDArray[np.float32]
    priorities: NDArray[np.float32]
    rate: float


class Subsample:
    """At most ``capacity`` values of a stream, each equally likely, on the stream's own device.

    Which positions are drawn depends on the seed and the shapes alone, so a repeated run draws the same, on any device;
    torch's random state is not touched. A stream of up to ``capacity`` values is kept whole. Masked positions are drawn
    too and dropped, so a stream that is padded by a half may give half the capacity.
    """

    def __init__(self, capacity: int = CAPACITY, seed: tuple[int, ...] = (0,)) -> None:
        self.capacity = capacity
        self._random = np.random.default_rng(seed)
        self._offered, self._rate, self._held = 0, 1.0, 0
        self._parts: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def update(self, values: Tensor, mask: Tensor | None = None) -> None:
        """Offer ``values`` (any shape) where ``mask`` (B, L) is True. Never waits for the device.

        Raises:
            GatefuseError: the mask cannot be laid over the values.
        """
        total = values.numel()
        self._offered += total
        while self._rate * self._offered > 2 * self.capacity:
            self._rate /= 2
        positions = self._choose(total)
        if not len(positions):
            return
        grid, valid = as_rows(values.detach(), mask)
        index = torch.from_numpy(positions).to(grid.device)
        priority = torch.from_numpy(self._random.random(len(positions), np.float32) * np.float32(self._rate))
        priority = priority.to(grid.device)
        if valid is not None:
            priority = priority.where(valid.reshape(-1)[index // grid.shape[2]], math.inf)
        self._parts.append((grid.reshape(-1)[index].float(), priority))
        self._held += len(positions)
        if self._held > 4 * self.capacity:
            self._compact()

    def _choose(self, total: int) -> NDArray[np.int64]:
        if self._rate == 1:
            return np.arange(total)
        return self._random.choice(total, self._random.binomial(total, self._rate), replace=False, shuffle=False)

    def _compact(self) -> None:
        device = self._parts[0][0].device
        values, priorities = (torch.cat([part[side].to(device) for part in self._parts]) for side in (0, 1))
        # a fixed number stays, whatever the mask let through: how many that is the host cannot know without waiting
        priorities, kept = priorities.topk(min(2 * self.capacity, len(priorities)), largest=False)
        self._parts, self._held = [(values[kept], priorities)], len(kept)

    def draw(self) -> Drawn:
        """The sample, on the host (one transfer)."""
        if not self._parts:
            return Drawn(np.zeros(0, np.float32), np.zeros(0, np.float32), self._rate)
        self._compact()
        values, priorities = torch.stack(self._parts[0]).cpu().numpy()
        return merge_drawn([Drawn(values, priorities, self._rate)], self.capacity)


def merge_drawn(parts: list[Drawn], capacity: int = CAPACITY) -> Drawn:
    """A sample of the union of disjoint streams from samples of each; ``parts`` holds one at least."""
    rate = min(part.rate for part in parts)
    values = np.concatenate([part.values for part in parts])
    priorities = np.concatenate([part.priorities for part in parts])
    # what was drawn while the rate was still higher would otherwise stand for too much
    kept = np.flatnonzero(priorities < rate)
    kept = kept[np.argsort(priorities[kept], kind="stable")[:capacity]]
    return Drawn(values[kept], priorities[kept], rate)
