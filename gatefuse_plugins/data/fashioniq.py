"""FashionIQ: fashion retrieval by natural-language feedback (Wu et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatefuse_plugins.data.base import ROLES, ComposedRetrievalDataset, Transform
from gatefuse_plugins.data.base_annotations import check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.fashioniq_annotations import CATEGORIES, SPLITS, read_fashioniq
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.registry import DATASETS

STRIPPED = ".?, "


def joined_caption(first: str, second: str) -> str:
    """Query text of evaluation (CLIP4Cir, SPRC): ``"First and second"``, both stripped of ``.?, ``."""
    return f"{first.strip(STRIPPED).capitalize()} and {second.strip(STRIPPED)}"


def training_captions(first: str, second: str) -> tuple[str, str, str, str]:
    """The four forms that training draws from with equal chances (CLIP4Cir ``generate_randomized_fiq_caption``)."""
    alone = (first.strip(STRIPPED).capitalize(), second.strip(STRIPPED).capitalize())
    return joined_caption(first, second), joined_caption(second, first), *alone


@DATASETS.register_module()
class FashionIQDataset(ComposedRetrievalDataset):
    """FashionIQ; queries of one category share a ``cluster``, and each category is ranked in its own gallery.

    The caption form of a training query is a pure function of ``(seed, epoch, query)``, so that a resumed run sees
    the same texts; ``ClusterSampler.set_epoch`` passes the epoch on.

    Args:
        data_root: holds ``captions``, ``image_splits`` and ``images``, or a folder ``fashionIQ_dataset`` that does.
        split: ``train``, ``val`` or ``test`` (no targets).
        role: ``train`` or ``eval``.
        categories: in this order; ``metainfo['category']`` holds positions in it.
        transform: list of transform configs, or a callable from picture to tensor ``(3, S, S)``.
        features: path of a feature cache, instead of pictures.
        seed: of the caption forms.

    Raises:
        DataError: annotations or pictures are missing or contradict each other; lists all of it.
        ConfigError: unknown split, role or category.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str = "train",
        role: str = "train",
        categories: Sequence[str] = CATEGORIES,
        transform: Transform | None = None,
        features: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("role", role, ROLES)
        for category in categories:
            check_choice("category", category, CATEGORIES)
        if not categories or len(set(categories)) != len(categories):
            raise ConfigError(f"categories={list(categories)}, expected distinct ones of {', '.join(CATEGORIES)}")
        faults = Faults()
        annotations = read_fashioniq(data_root, split, categories, faults)
        faults.raise_if_any(f"FashionIQ {split} in {data_root}")
        self.categories, self.seed = tuple(categories), seed
        # shared memory: persistent DataLoader workers hold copies of this object, and must see a new epoch
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()
        super().__init__(annotations, role, transform, features)

    @property
    def metainfo(self) -> dict[str, Any]:
        """As the base class's, plus ``categories``, the names that ``category`` numbers."""
        return super().metainfo | {"categories": list(self.categories)}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose caption forms are drawn."""
        self._epoch[0] = epoch

    def caption(self, query: int) -> str:
        """Role ``eval``: both captions joined; ``train``: the form drawn for this epoch."""
        first, second = self.annotations.captions[query]
        if self.role == "eval":
            return joined_caption(first, second)
        form = np.random.default_rng((self.seed, int(self._epoch), query)).integers(4)
        return training_captions(first, second)[form]
