"""Training order that puts hard negatives into one batch and can be resumed in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ClusterSampler(Sampler[int]):
    """Indices of one rank, in an order that is a pure function of ``(seed, epoch)``.

    The global order is made of blocks of ``group_size`` indices of one cluster (``dataset.cluster``), the blocks
    shuffled. What is left of clusters whose size is no multiple of ``group_size`` is joined, cluster by cluster, into
    mixed blocks, so that no sample is lost. The order is cut into whole global batches of ``batch_size * world_size``
    (a remainder is dropped, a different one each epoch); rank r takes the r-th contiguous slice of each.

    Args:
        dataset: has a length, and ``cluster`` (integer array, one per sample) where ``group_size > 1``.
        batch_size: samples per rank and step; a multiple of ``group_size``.
        group_size: samples of one cluster in a block; 1 is a plain shuffle.
        seed: the same on all ranks.
        shuffle: False gives ``0, 1, 2, ...``.

    Attributes:
        start: how many of this rank's samples the next iteration skips (mid-epoch resume); used once, then 0.

    Raises:
        ConfigError: batch and group do not fit each other or the dataset, or there is no common seed.
    """

    def __init__(
        self, dataset: Sized, batch_size: int, group_size: int = 1, seed: int | None = 0, shuffle: bool = True
    ) -> None:
        if seed is None:
            raise ConfigError("ClusterSampler: seed=None (diff_rank_seed?), expected one seed common to all ranks")
        if group_size < 1 or batch_size < 1 or batch_size % group_size:
            below = max(group_size, batch_size - batch_size % max(group_size, 1))
            raise ConfigError(
                f"ClusterSampler: batch_size={batch_size} is not a positive multiple of group_size={group_size}; "
                f"nearest batch_size: {below}"
            )
        self.rank, self.world_size = get_dist_info()
        self.global_batch = batch_size * self.world_size
        if len(dataset) < self.global_batch:
            raise ConfigError(
                f"ClusterSampler: {len(dataset)} samples do not fill one batch of batch_size={batch_size} x "
                f"{self.world_size} rank(s); largest valid batch_size: {len(dataset) // self.world_size}"
            )
        self.cluster = self._clusters(dataset) if group_size > 1 else None
        self.dataset, self.batch_size, self.group_size = dataset, batch_size, group_size
        self.seed, self.shuffle, self.epoch, self.start = seed, shuffle, 0, 0

    @staticmethod
    def _clusters(dataset: Sized) -> np.ndarray:
        cluster = getattr(dataset, "cluster", None)
        if cluster is None or len(cluster) != len(dataset):
            raise ConfigError(
                f"ClusterSampler: {type(dataset).__name__} has no `cluster` of length {len(dataset)}; group_size > 1 "
                "needs a training dataset with clusters, group_size=1 works with any"
            )
        return np.asarray(cluster)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives; a dataset with ``set_epoch`` is told as well."""
        self.epoch = epoch
        tell_dataset = getattr(self.dataset, "set_epoch", None)
        if tell_dataset is not None:
            tell_dataset(epoch)

    def global_order(self) -> np.ndarray:
        """Indices of all ranks for the current epoch, in order, before the cut into whole batches."""
        count = len(self.dataset)
        if not self.shuffle:
            return np.arange(count)
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(count)
        return order if self.cluster is None else self._grouped(order, self.cluster, rng)

    def _grouped(self, order: np.ndarray, cluster: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _, labels, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
        order = order[np.argsort(labels[order], kind="stable")]  # by cluster, shuffled within each
        first = np.cumsum(sizes) - sizes
        position = np.arange(len(order)) - first[labels[order]]
        in_full_block = position < (sizes // self.group_size * self.group_size)[labels[order]]
        rest = order[~in_full_block]
        rest = rest[np.argsort(rng.permutation(len(sizes))[labels[rest]], kind="stable")]
        whole = len(rest) // self.group_size * self.group_size
        joined = np.concatenate([order[in_full_block], rest[:whole]]).reshape(-1, self.group_size)
        return np.concatenate([rng.permutation(joined).reshape(-1), rest[whole:]])

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        batches = len(self.dataset) // self.global_batch
        order = self.global_order()[: batches * self.global_batch]
        local = order.reshape(batches, self.world_size, self.batch_size)[:, self.rank].reshape(-1)
        return iter(local[start:].tolist())

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch (``start`` does not count: schedules must not shift on resume)."""
        return len(self.dataset) // self.global_batch * self.batch_size
