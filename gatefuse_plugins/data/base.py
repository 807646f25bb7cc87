"""Composed-retrieval dataset: training pairs, or a gallery followed by queries, in whole batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gatefuse_plugins.data.base_annotations import Annotations, check_choice, log_notes
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.collate import BatchedDataset
from gatefuse_plugins.data.feature_cache import FeatureCache
from gatefuse_plugins.data.images import missing_files, read_image
from gatefuse_plugins.data.transforms import build_transform
from gatefuse_plugins.errors import ConfigError, DataError

ROLES = ("train", "eval")

Transform = Callable[[Image.Image], Tensor] | Sequence[Mapping[str, Any]]


class ComposedRetrievalDataset(BatchedDataset):
    """Queries (reference image + caption) and the images they search.

    Role ``train``: item i is query i; a batch holds ``reference`` and ``target``, ``caption`` (list[str]) and
    ``target_id`` (B,) int64 (first gallery row of the target's name: equal ids are the same picture).
    Role ``eval``: the first ``len(metainfo['gallery'])`` items are gallery images, the rest queries; a batch holds
    what its indices hit: ``image``, ``image_index`` and/or ``reference``, ``caption``, ``query_index``.

    Images are float32 ``(B, 3, S, S)`` from ``transform``, or vision tokens ``(B, L, D)`` from the cache ``features``.
    With neither, only the annotations can be used (metrics need no pictures) and asking for a batch raises.

    Args:
        annotations: what a subclass read.
        role: ``train`` or ``eval``.
        transform: list of transform configs, or a callable from picture to tensor.
        features: path of a feature cache (``build_feature_cache``); ``transform`` is then not used.

    Raises:
        DataError: pictures are missing, from disk or from the cache; lists them all.
    """

    def __init__(
        self,
        annotations: Annotations,
        role: str,
        transform: Transform | None = None,
        features: str | Path | None = None,
    ) -> None:
        check_choice("role", role, ROLES)
        self.annotations, self.role = annotations, role
        self.subject = f"{annotations.identity['name']} {annotations.identity['split']}"
        self.transform = transform if transform is None or callable(transform) else build_transform(transform)
        self.features = None if features is None else FeatureCache.open(features)
        self.cluster = annotations.cluster if role == "train" else None
        first_row: dict[str, int] = {}
        self._picture = np.array([first_row.setdefault(n, row) for row, n in enumerate(annotations.gallery)])
        if role == "train" and (annotations.target < 0).any():
            raise DataError(f"{self.subject}: queries have no targets, so role='train' is impossible; use role='eval'")
        self._check_pictures()
        log_notes(annotations)

    @property
    def metainfo(self) -> dict[str, Any]:
        """``identity``, ``gallery`` and, for the role ``eval``, the int arrays that metrics need."""
        found = self.annotations
        info: dict[str, Any] = {"identity": dict(found.identity), "gallery": list(found.gallery)}
        if self.role == "eval":
            arrays = ("reference", "target", "members", "pairid", "category", "gallery_category")
            info.update({name: getattr(found, name) for name in arrays if getattr(found, name) is not None})
        return info

    @property
    def image_paths(self) -> dict[str, Path]:
        """Name -> file of every gallery picture: what a feature cache is built from."""
        return dict(zip(self.annotations.gallery, self.annotations.paths, strict=True))

    def __len__(self) -> int:
        queries = len(self.annotations.captions)
        return queries if self.role == "train" else len(self.annotations.gallery) + queries

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Any]:
        """One collated batch, in the order of ``indices`` (gallery before queries)."""
        rows = self.rows_of(indices)
        found, gallery_size = self.annotations, len(self.annotations.gallery)
        if self.role == "train":
            reference, target = found.reference[rows], found.target[rows]
            images = self._load(np.concatenate([reference, target]))
            return {
                "reference": images[: len(rows)],
                "target": images[len(rows) :],
                "caption": [self.caption(int(row)) for row in rows],
                "target_id": torch.from_numpy(self._picture[target]),
            }
        batch: dict[str, Any] = {}
        images_hit, queries_hit = rows[rows < gallery_size], rows[rows >= gallery_size] - gallery_size
        if len(images_hit):
            batch |= {"image": self._load(images_hit), "image_index": torch.from_numpy(images_hit)}
        if len(queries_hit):
            batch |= {
                "reference": self._load(found.reference[queries_hit]),
                "caption": [self.caption(int(row)) for row in queries_hit],
                "query_index": torch.from_numpy(queries_hit),
            }
        return batch

    @abstractmethod
    def caption(self, query: int) -> str:
        """The text of a query."""

    def _load(self, rows: np.ndarray) -> Tensor:
        if self.features is not None:
            return self.features.read([self.annotations.gallery[row] for row in rows])
        if self.transform is None:
            raise ConfigError(f"{self.subject}: no pictures without transform= or features=; give one of them")
        faults, tensors = Faults(), {}
        for row in dict.fromkeys(rows.tolist()):  # a batch may hold one picture several times
            try:
                tensors[row] = self.transform(read_image(self.annotations.paths[row]))
            except DataError as error:
                faults.add("images that cannot be read", error)
        faults.raise_if_any(self.subject)
        return torch.stack([tensors[row] for row in rows.tolist()])

    def _check_pictures(self) -> None:
        faults = Faults()
        if self.features is not None:
            kind = f"images without a row in the feature cache {self.features.path} (build the cache again)"
            faults.add(kind, *self.features.missing(self.annotations.gallery))
        elif self.transform is not None:
            faults.add("missing image files (tools/check_data.py finds mislaid ones)", *self._absent_files())
        faults.raise_if_any(self.subject)

    def _absent_files(self) -> list[Path]:
        return missing_files(dict.fromkeys(self.annotations.paths))
