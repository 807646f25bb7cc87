"""What can be indexed: how each host's gallery becomes vectors, and how a query scores them.

The scores are those of the hosts' own evaluation, computed by the same functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.hosts.avigate.network import AVIGATENetwork
from gatefuse_plugins.hosts.avigate.rows import EncodedVideos
from gatefuse_plugins.hosts.avigate.scoring import embed_videos
from gatefuse_plugins.hosts.avigate.similarity import VideoVectors, all_pairs_similarity
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork
from gatefuse_plugins.retrieval.vectors import GalleryVectors

Predictions = Sequence[Mapping[str, Tensor]]
_MOVED = 1024  # videos on the model's device at a time


class GalleryKind(ABC):
    """A host's way to encode and score a gallery.

    Attributes:
        name: as it stands in an index.
        index_key: entry of a prediction that tells the gallery rows.
        arrays: fields of :class:`GalleryVectors` that it fills.
    """

    name: str
    index_key: str
    arrays: tuple[str, ...]

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @abstractmethod
    def gather(self, predictions: Predictions) -> GalleryVectors:
        """Vectors from what the host's ``predict`` gave for the gallery, batch after batch, moved to the CPU."""

    @abstractmethod
    def score(self, queries: Tensor, vectors: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """(M, n) similarity of ``queries`` (M, D) and the items of :meth:`GalleryVectors.padded`."""

    @abstractmethod
    def first_stage(self, vectors: GalleryVectors) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """What an inner-product index searches, (R, D), and the item (R,) that each row belongs to."""


class VideoGallery(GalleryKind):
    """AVIGATE: a video is its frames and their mean."""

    name, index_key, arrays = "video", "video_index", ("vectors", "offsets", "pooled")
    model: AVIGATENetwork

    def gather(self, predictions: Predictions) -> GalleryVectors:
        """Joined first and fused then, as the evaluation does: padding is the same for all."""
        parts = [
            EncodedVideos(*(found[key] for key in ("frames", "mask", "audio", "has_audio"))) for found in predictions
        ]
        videos, device = EncodedVideos.concatenate(parts), self.model.query_tokens.device
        moves = (videos[start : start + _MOVED].to(device) for start in range(0, len(videos), _MOVED))
        embedded = VideoVectors.concatenate([embed_videos(self.model, part).to("cpu") for part in moves])
        return GalleryVectors.from_padded(embedded.frames, embedded.mask, embedded.pooled)

    def score(self, queries: Tensor, vectors: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        assert pooled is not None
        videos = VideoVectors(vectors, pooled, mask)
        return all_pairs_similarity(queries, videos, self.model.scale, self.model.lse_temperature)

    def first_stage(self, vectors: GalleryVectors) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        assert vectors.pooled is not None
        return vectors.pooled, np.arange(len(vectors))


class ImageGallery(GalleryKind):
    """Composed retrieval: a picture is its query tokens, of which the best counts."""

    name, index_key, arrays = "image", "image_index", ("vectors", "offsets")
    model: ComposedRetrievalNetwork

    def gather(self, predictions: Predictions) -> GalleryVectors:
        tokens = torch.cat([found["image_features"] for found in predictions]).float()
        return GalleryVectors.from_padded(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))

    def score(self, queries: Tensor, vectors: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        return max_token_similarity(queries, vectors)  # every picture has equally many tokens: no padding

    def first_stage(self, vectors: GalleryVectors) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        return vectors.vectors, np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets))


KINDS: Mapping[str, type[GalleryKind]] = {kind.name: kind for kind in (VideoGallery, ImageGallery)}


def kind_of(model: nn.Module) -> GalleryKind:
    """The kind of gallery that ``model`` encodes.

    Raises:
        ConfigError: its videos depend on the query, or it does not retrieve from a gallery.
    """
    if isinstance(model, ComposedRetrievalNetwork):
        return ImageGallery(model)
    if not isinstance(model, AVIGATENetwork):
        raise ConfigError(
            f"model: a {type(model).__name__} has no gallery to index; expected AVIGATE (videos) or"
            " Blip2ComposedRetrieval (pictures)"
        )
    if model.text_conditioned:
        options = model.transformerClip.options
        raise ConfigError(
            f"model: gates depend on the text (query_gate={options.query_gate!r}, text_gates={options.text_gates}), so"
            " a video has no vectors of its own and cannot be indexed. Score in two stages instead: a text-free pass,"
            " then text-conditioned re-ranking of the k best (two_stage_scores, docs/avigate.md); or index a model with"
            " query_gate='off' and text_gates=False"
        )
    return VideoGallery(model)
