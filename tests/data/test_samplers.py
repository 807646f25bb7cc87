from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DATA_SAMPLERS, FUNCTIONS

import gatefuse_plugins.data  # noqa: F401  (registers)
from gatefuse_plugins.data import samplers
from gatefuse_plugins.data.samplers import ClusterSampler
from gatefuse_plugins.errors import ConfigError


class Toy:
    def __init__(self, cluster: list[int]) -> None:
        self.cluster, self.epoch = np.array(cluster), None

    def __len__(self) -> int:
        return len(self.cluster)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


TOY = Toy([0] * 9 + [1] * 4 + [2] * 7 + [3])


def test_blocks_come_from_one_cluster_and_nothing_is_lost() -> None:
    sampler = ClusterSampler(TOY, batch_size=4, group_size=4, seed=3)
    order = sampler.global_order()
    assert sorted(order) == list(range(21))
    blocks = TOY.cluster[order[:20]].reshape(-1, 4)
    assert (blocks == blocks[:, :1]).all(1).sum() >= 9 // 4 + 4 // 4 + 7 // 4
    assert len(list(sampler)) == len(sampler) == 20


def test_epoch_is_a_pure_function_of_seed_and_epoch() -> None:
    first, second = (ClusterSampler(TOY, 4, 2, seed=1) for _ in range(2))
    list(first)
    first.set_epoch(5)
    second.set_epoch(5)
    assert TOY.epoch == 5
    at_five = list(first)
    assert at_five == list(second)
    second.set_epoch(6)
    assert at_five != list(second)


def test_start_skips_once() -> None:
    sampler = ClusterSampler(TOY, 4, seed=1)
    whole = list(sampler)
    sampler.start = 8
    assert list(sampler) == whole[8:]
    assert list(sampler) == whole
    assert len(sampler) == 20


def test_ranks_take_slices_of_the_single_process_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = list(ClusterSampler(TOY, 4, 2, seed=1))
    parts = []
    for rank in range(2):
        monkeypatch.setattr(samplers, "get_dist_info", lambda rank=rank: (rank, 2))
        parts.append(np.array(list(ClusterSampler(TOY, 2, 2, seed=1))).reshape(-1, 2))
    assert np.concatenate(parts, axis=1).reshape(-1).tolist() == joined


def test_unfit_sizes_raise() -> None:
    with pytest.raises(ConfigError, match="multiple of group_size=4; nearest batch_size: 4"):
        ClusterSampler(TOY, 6, 4)
    with pytest.raises(ConfigError, match="largest valid batch_size: 21"):
        ClusterSampler(TOY, 22)
    with pytest.raises(ConfigError, match="group_size=1 works with any"):
        ClusterSampler(list(range(8)), 4, 2)
    with pytest.raises(ConfigError, match="one seed common"):
        ClusterSampler(TOY, 4, seed=None)


def test_runner_registries_find_sampler_and_collate() -> None:
    cfg = {"type": "gatefuse.ClusterSampler", "batch_size": 3, "shuffle": False}
    sampler = DATA_SAMPLERS.build(cfg, default_args={"dataset": TOY, "seed": 7})
    assert list(sampler) == list(range(21)) and sampler.seed == 7
    batch = {"caption": ["x"]}
    assert FUNCTIONS.get("gatefuse.identity_collate")(batch) is batch
