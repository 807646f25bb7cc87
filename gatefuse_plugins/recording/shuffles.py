"""Gate values in another order: those of another sample, or of other positions of the same sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.gate_profile import GateProfile
from gatefuse_plugins.recording.interventions import Intervention
from gatefuse_plugins.recording.running_moments import align_mask
from gatefuse_plugins.recording.tap_hooks import recomputing


class _Shuffle(Intervention):
    """Base of both: the n-th value of every tap in a scope is shuffled alike, so that all gates keep company.

    Args:
        seed: of the orders; a scope repeats itself.
        profiles: from a first pass; with them, gates that cannot be shuffled are refused, not left as they are.
    """

    def __init__(self, seed: int = 0, profiles: Mapping[str, GateProfile] | None = None) -> None:
        self.seed, self.profiles = seed, profiles
        self._calls: Counter[str] = Counter()

    def start(self) -> None:
        self._calls.clear()

    def refusal(self, name: str, tap: GateTap) -> str | None:
        if self.profiles is None:
            return None
        if name not in self.profiles:
            return "no value passed it"
        return None if self.profiles[name].varies else "it gives one and the same value, which no shuffle changes"

    def _random(self, name: str) -> np.random.Generator:
        if recomputing():
            raise GatefuseError(
                f"{self.name} under gradient checkpointing: the second forward of gate {name} would be shuffled"
                " differently; use it without gradients"
            )
        self._calls[name] += 1
        return np.random.default_rng((self.seed, self._calls[name]))


class ShuffleSamples(_Shuffle):
    """Each sample gets the gates of another one of its batch: the random cycle of Sattolo (1986), no sample its own.

    Where lengths differ, the donor's valid positions are stretched over the sample's (nearest). A batch of one gets the
    gates of the last sample of the batch before; the very first has none before it and keeps its own. Donors come from
    one batch, so batches should be large and mixed; nothing but one sample a gate is held in memory.
    """

    name = "shuffle_samples"

    def start(self) -> None:
        super().start()
        self._last: dict[str, tuple[Tensor, Tensor]] = {}

    def replace(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> Tensor:
        grid, valid = as_grid(value, mask)
        random = self._random(name)
        last = self._last.get(name)
        self._last[name] = (grid[-1:].detach().clone(), valid[-1:].clone())
        if len(grid) > 1:
            order = random.permutation(len(grid))
            donors = np.empty_like(order)
            donors[order] = np.roll(order, 1)
            rows = torch.from_numpy(donors).to(value.device)
            donor, donor_valid = grid[rows], valid[rows]
        elif last is not None:
            donor, donor_valid = last
        else:
            return value
        return transplant(grid, valid, donor, donor_valid).reshape(value.shape)


class ShuffleTime(_Shuffle):
    """Valid positions of a sample change places, channels together. Gates of one value a sample are n/a."""

    name = "shuffle_time"

    def refusal(self, name: str, tap: GateTap) -> str | None:
        if self.profiles is not None and name in self.profiles and not self.profiles[name].has_positions:
            return "it gives no values along time"
        return super().refusal(name, tap)

    def replace(self, name: str, tap: GateTap, value: Tensor, mask: Tensor | None) -> Tensor:
        grid, valid = as_grid(value, mask)
        random = self._random(name)
        if grid.shape[1] == 1:
            return value
        noise = torch.from_numpy(random.random(tuple(valid.shape))).to(value.device, torch.float32)
        places = (~valid).to(torch.uint8).argsort(dim=1, stable=True)  # valid positions first, in their order
        mixed = noise.masked_fill(~valid, torch.inf).argsort(dim=1, stable=True)  # and at random; padding stays put
        width = grid.shape[2]
        moved = grid.gather(1, mixed[..., None].expand(-1, -1, width))
        return torch.empty_like(grid).scatter(1, places[..., None].expand(-1, -1, width), moved).reshape(value.shape)


def as_grid(value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """``value`` as (B, rows, width), rows along time or tokens (one row for gates without), and validity (B, rows)."""
    value = value.reshape(1) if value.dim() == 0 else value
    grid = value if value.dim() == 3 else value.reshape(len(value), 1, -1)
    if mask is None:
        return grid, torch.ones(grid.shape[:2], dtype=torch.bool, device=value.device)
    aligned = align_mask(mask, value)
    valid = aligned.reshape(len(value), aligned.shape[1] if value.dim() == 3 else 1, -1).any(dim=2)
    return grid, valid.expand(grid.shape[:2])


def transplant(own: Tensor, own_valid: Tensor, donor: Tensor, donor_valid: Tensor) -> Tensor:
    """``donor`` (B, M, D) stretched over the valid positions of ``own`` (B, L, D), nearest in relative time.

    Padding, and samples whose donor has no valid position, keep what they have.
    """
    length, donor_length = own_valid.sum(dim=1, keepdim=True), donor_valid.sum(dim=1, keepdim=True)
    rank = own_valid.cumsum(dim=1) - 1
    # in whole numbers, since (rank + 1/2) * M / L in floating point may fall on either side of a whole one
    wanted = (2 * rank.clamp(min=0) + 1) * donor_length // (2 * length.clamp(min=1))
    wanted = torch.minimum(wanted, (donor_length - 1).clamp(min=0))
    places = (~donor_valid).to(torch.uint8).argsort(dim=1, stable=True).gather(1, wanted)
    taken = donor.gather(1, places[..., None].expand(-1, -1, own.shape[2]))
    return torch.where((own_valid & (donor_length > 0))[..., None], taken, own)
