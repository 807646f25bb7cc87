"""Where in the reference image does the caption act? Gates by image token, beside what the query retrieves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from gatefuse_plugins.analysis.gates.gallery_ranks import rank_gallery
from gatefuse_plugins.analysis.gates.pictures import Picture, seen_picture
from gatefuse_plugins.analysis.gates.token_signals import TokenSignal, run_query, token_grid
from gatefuse_plugins.data.base import ComposedRetrievalDataset
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.retrieval.encoding import encode_gallery

THUMBNAIL = 128
"""Longest side of a retrieved picture, in pixels."""


@dataclass(frozen=True)
class TokenMap(TokenSignal):
    """One signal over the places of the image.

    Its ``values`` are (H, W), without CLS token; (1, 1) where one value is for the whole image.
    """

    @property
    def whole(self) -> bool:
        """Is it one value for the whole image?"""
        return self.values.size == 1


@dataclass(frozen=True)
class Retrieval:
    """One gallery image.

    Attributes:
        rank: 1 for the best.
        name: in the gallery.
        score: the model's similarity.
        picture: (h, w, 3), at most ``THUMBNAIL`` pixels a side; ``None`` where its file is missing.
        is_target: whether it is the annotated answer.
    """

    rank: int
    name: str
    score: float
    picture: Picture | None
    is_target: bool


@dataclass(frozen=True)
class GateMap:
    """One query of composed retrieval.

    Attributes:
        id: the pair id, or the row where queries have none.
        caption: as the model gets it.
        reference: name of the reference image.
        picture: (h, w, 3) the reference as the model sees it; ``None`` where its file is missing.
        maps: signals in the order of the model; see :class:`TokenMap`.
        retrievals: the best gallery images, best first; then the target, where it is known and not among them.
        rank: of the target, counted as the data set's metric does; ``None`` where unknown or nothing was retrieved.
        competitors: gallery images that are ranked.
    """

    id: int | str
    caption: str
    reference: str
    picture: Picture | None
    maps: tuple[TokenMap, ...]
    retrievals: tuple[Retrieval, ...] = ()
    rank: int | None = None
    competitors: int = 0


def analyse_gate_maps(
    model: nn.Module,
    dataset: ComposedRetrievalDataset,
    rows: Sequence[int],
    top_k: int = 5,
    grid: tuple[int, int] | None = None,
) -> list[GateMap]:
    """Run single queries, encode the gallery, and rank it. The model is left in eval mode.

    Args:
        model: ``Blip2ComposedRetrieval`` with a fusion.
        dataset: role ``eval``, of images or cached tokens; pictures are read from its image files.
        rows: of ``dataset.metainfo['reference']``.
        top_k: gallery images to show; 0 encodes no gallery.
        grid: (height, width) of the image tokens; see :func:`token_grid`.

    Raises:
        ConfigError: the model has no fusion or is another host, or the data set has another role.
        DataError: images cannot be read, a row is none, or tokens do not fit the grid.
    """
    model.eval()
    maps, queries = compose_queries(model, dataset, rows, grid)
    if not maps or top_k < 1:
        return maps
    with torch.random.fork_rng(devices=[]):  # a data loader draws a seed for its workers, though it has none
        names, vectors = encode_gallery(model, dataset)
    targets, _, _ = vectors.padded(np.arange(len(names)))
    place = {name: at for at, name in enumerate(names)}
    columns = [place[name] for name in dataset.metainfo["gallery"]]
    return add_retrievals(maps, dataset, rows, max_token_similarity(queries, targets)[:, columns], top_k)


def compose_queries(
    model: nn.Module, dataset: ComposedRetrievalDataset, rows: Sequence[int], grid: tuple[int, int] | None = None
) -> tuple[list[GateMap], Tensor]:
    """Gate maps without retrievals, and query vectors (N, E) on the CPU; raises as :func:`analyse_gate_maps`."""
    if getattr(dataset, "role", None) != "eval" or not isinstance(dataset, ComposedRetrievalDataset):
        raise ConfigError(f"gate maps: a {type(dataset).__name__} has no queries; expected composed retrieval, eval")
    info = dataset.metainfo
    gallery, reference, pairs = info["gallery"], info["reference"], info.get("pairid")
    if wrong := [row for row in rows if not 0 <= row < len(reference)]:
        raise DataError(f"gate maps: rows {wrong} of {dataset.subject}, expected 0..{len(reference) - 1}")
    maps, features = [], [torch.empty(0, 0)]
    for row in rows:  # a batch of its own each, so that no caption is padded
        prediction, signals = run_query(model, dataset.__getitems__([len(gallery) + row]))
        features.append(prediction["query_features"].float().cpu())
        maps.append(
            GateMap(
                id=row if pairs is None else int(pairs[row]),
                caption=dataset.caption(row),
                reference=gallery[reference[row]],
                picture=seen_picture(dataset, int(reference[row])),
                maps=tuple(_token_map(signal, grid) for signal in signals),
            )
        )
    return maps, torch.cat(features[1:] or features)


def _token_map(signal: TokenSignal, grid: tuple[int, int] | None) -> TokenMap:
    count = len(signal.values)
    height, width = (1, 1) if count == 1 else token_grid(count, grid)
    placed = signal.values[count - height * width :].reshape(height, width)
    return TokenMap(**{**vars(signal), "values": placed})


def add_retrievals(
    maps: Sequence[GateMap], dataset: ComposedRetrievalDataset, rows: Sequence[int], scores: Tensor, top_k: int
) -> list[GateMap]:
    """``maps`` of ``rows`` with the best images by ``scores`` (N, gallery), ranked as the data set's metric does.

    Raises:
        DataError: a score is NaN, or a picture cannot be read.
    """
    info = dataset.metainfo
    rankings = rank_gallery(info, rows, scores.float().cpu().numpy(), top_k)
    found = []
    for one, row, own_scores, ranking in zip(maps, rows, scores.tolist(), rankings, strict=True):
        retrievals = tuple(
            Retrieval(
                rank=rank,
                name=info["gallery"][image],
                score=own_scores[image],
                picture=seen_picture(dataset, image, THUMBNAIL),
                is_target=image == info["target"][row],
            )
            for rank, image in ranking.shown
        )
        found.append(replace(one, retrievals=retrievals, rank=ranking.target, competitors=ranking.competitors))
    return found
