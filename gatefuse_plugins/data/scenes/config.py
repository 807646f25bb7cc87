"""The size and seed of an embedded set."""

from __future__ import annotations

from dataclasses import dataclass

from gatefuse_plugins.data.scenes.vocabulary import GRID
from gatefuse_plugins.errors import ConfigError

IMG_SET_SIZE = 6
_MIN_CELL_PIXELS = 8


@dataclass(frozen=True)
class SceneSetConfig:
    """Sizes of an embedded set; the same config always gives the same set.

    Args:
        num_train_images, num_val_images: gallery sizes, multiples of ``cluster_size``.
        num_train_queries, num_val_queries: at most ``2 * (cluster_size - 1)`` a cluster.
        num_test_queries: queries of the small split without targets; 0 leaves its lists empty.
        cluster_size: near-duplicate scenes a cluster, at least 6 (one img_set).
        image_size: pixels a side, a multiple of 3, at least 24.
        seed: of the one random stream that everything is drawn from.

    Raises:
        ConfigError: lists every field that does not fit.
    """

    num_train_images: int = 8000
    num_train_queries: int = 12000
    num_val_images: int = 2000
    num_val_queries: int = 1000
    num_test_queries: int = 200
    cluster_size: int = 20
    image_size: int = 48
    seed: int = 0

    def __post_init__(self) -> None:
        faults = [*self._cluster_faults(), *self._split_faults()]
        if self.image_size % GRID or self.image_size < GRID * _MIN_CELL_PIXELS:
            near = max(GRID * _MIN_CELL_PIXELS, round(self.image_size / GRID) * GRID)
            faults.append(f"image_size={self.image_size} must be a multiple of {GRID} from 24 up; nearest: {near}")
        if faults:
            raise ConfigError("SceneSetConfig: " + "; ".join(faults))

    @property
    def max_queries_per_cluster(self) -> int:
        """Every scene but the base is one edit away from an earlier one, and each edit can be reversed."""
        return 2 * (self.cluster_size - 1)

    @property
    def num_test_images(self) -> int:
        """The smallest whole number of clusters that gives each test query about two gallery images, as in CIRR."""
        return -(-2 * self.num_test_queries // self.cluster_size) * self.cluster_size

    def _cluster_faults(self) -> list[str]:
        if self.cluster_size >= IMG_SET_SIZE:
            return []
        return [f"cluster_size={self.cluster_size} must hold an img_set of {IMG_SET_SIZE}; nearest: {IMG_SET_SIZE}"]

    def _split_faults(self) -> list[str]:
        faults = []
        size = max(self.cluster_size, 1)
        for split in ("train", "val"):
            images, queries = getattr(self, f"num_{split}_images"), getattr(self, f"num_{split}_queries")
            if images < size or images % size:
                near = max(1, round(images / size)) * size
                faults.append(f"num_{split}_images={images} must be a multiple of cluster_size={size}; nearest: {near}")
            most = images // size * self.max_queries_per_cluster
            if not 0 < queries <= most:
                near = min(max(queries, 1), most)
                faults.append(f"num_{split}_queries={queries} must lie in 1 to {most}; nearest: {near}")
        if self.num_test_queries < 0:
            faults.append(f"num_test_queries={self.num_test_queries} must not be negative; nearest: 0")
        return faults
