"""The k best items of an index: exactly, or from candidates that faiss finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError, suggestion
from gatefuse_plugins.retrieval.kinds import kind_of
from gatefuse_plugins.retrieval.storage import GalleryIndex

BACKENDS = ("exact", "faiss")
CHUNK_NUMBERS = 1 << 24
"""float32 numbers of the gallery held at a time (64 MiB)."""


@dataclass(frozen=True)
class Hit:
    """One found item.

    Attributes:
        rank: 1 for the best.
        score: the model's similarity.
        path: its file, where known.
    """

    rank: int
    name: str
    score: float
    path: str | None = None


class GallerySearcher:
    """Answers queries from one index.

    Equal scores stand in the gallery's order, whatever the backend and the size of a chunk.

    Args:
        index: opened index.
        model: the host that the gallery was encoded with; its device does the work.
        backend: ``exact`` scores every item. ``faiss`` takes candidates by inner product (a video's pooled vector, a
            picture's tokens) from a flat faiss index and scores those exactly: pictures come out as with ``exact``, a
            video may be missed where its frames are much better than their mean.
        candidates: items that ``faiss`` hands over a query; at least k are taken.
        chunk_numbers: bound of float32 numbers of the gallery in memory at a time.

    Raises:
        ConfigError: unknown backend, faiss is not installed, the model cannot be indexed, or its kind is another.
    """

    def __init__(
        self,
        index: GalleryIndex,
        model: nn.Module,
        backend: str = "exact",
        candidates: int = 200,
        chunk_numbers: int = CHUNK_NUMBERS,
    ) -> None:
        if backend not in BACKENDS:
            raise ConfigError(f"backend: {backend!r} is unknown{suggestion(backend, BACKENDS)}")
        if candidates < 1:
            raise ConfigError(f"candidates: {candidates}, expected at least 1")
        self.index, self.kind, self.candidates = index, kind_of(model), candidates
        if self.kind.name != index.header["kind"]:
            raise ConfigError(f"{index.folder}: indexes {index.header['kind']}s, but the model finds {self.kind.name}s")
        self.step = max(1, chunk_numbers // (index.vectors.longest * index.vectors.dim))
        self.first_stage = _FaissStage(*self.kind.first_stage(index.vectors)) if backend == "faiss" else None

    @torch.no_grad()
    def search(self, query: Tensor, k: int = 10, exclude: int | None = None) -> list[Hit]:
        """The k best items for ``query`` (1, D), fewer where the gallery is smaller.

        Args:
            query: of :func:`encode_text` or :func:`encode_composed`.
            k: items wanted.
            exclude: gallery row that is left out (CIRR: the reference picture).

        Raises:
            ConfigError: k is below 1.
            DataError: the query's width is not the index's, or a score is NaN.
        """
        if k < 1:
            raise ConfigError(f"k: {k}, expected at least 1")
        if query.shape != (1, self.index.vectors.dim):
            raise DataError(f"query of shape {tuple(query.shape)}, expected (1, {self.index.vectors.dim})")
        rows = np.arange(len(self.index.vectors))
        if self.first_stage is not None:
            rows = self.first_stage.candidates(query, max(self.candidates, k + 1))
        if exclude is not None:
            rows = rows[rows != exclude]
        scores, best = self._best(query, rows, k)
        return [
            Hit(rank, self.index.names[row], score, self.index.paths[row])
            for rank, (score, row) in enumerate(zip(scores.tolist(), best.tolist(), strict=True), start=1)
        ]

    def _best(self, query: Tensor, rows: NDArray[np.int64], k: int) -> tuple[Tensor, Tensor]:
        """The k highest scores among ``rows`` (ascending) and their rows."""
        scores, best = query.new_empty(0), torch.empty(0, dtype=torch.long)
        for start in range(0, len(rows), self.step):
            part = rows[start : start + self.step]
            vectors, mask, pooled = self.index.vectors.padded(part)
            pooled = None if pooled is None else pooled.to(query.device)
            found = self.kind.score(query, vectors.to(query.device), mask.to(query.device), pooled)[0]
            if found.isnan().any():
                raise DataError(f"{self.index.folder}: a score is NaN; look for NaN in the query's features")
            # a stable sort of best-so-far before new keeps equal scores in the gallery's order
            joined, order = torch.cat([scores, found]).sort(descending=True, stable=True)
            best = torch.cat([best, torch.from_numpy(part)])[order[:k].cpu()]
            scores = joined[:k]
        return scores, best


class _FaissStage:
    """A flat inner-product index over ``vectors`` (R, D), of which row r belongs to item ``owners[r]``."""

    def __init__(self, vectors: NDArray[np.floating], owners: NDArray[np.int64]) -> None:
        try:
            import faiss
        except ImportError as error:
            raise ConfigError(
                "backend='faiss': faiss is not installed; pip install faiss-cpu, or use backend='exact'"
            ) from error
        self.owners = owners
        self.rows_an_item = int(np.bincount(owners).max())
        self.flat = faiss.IndexFlatIP(vectors.shape[1])
        self.flat.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def candidates(self, query: Tensor, count: int) -> NDArray[np.int64]:
        """At least ``count`` items (all, where there are fewer), ascending."""
        wanted = min(len(self.owners), count * self.rows_an_item)  # one item may own the first rows of the answer
        _, rows = self.flat.search(query.float().cpu().numpy(), wanted)
        return np.unique(self.owners[rows[0]])
