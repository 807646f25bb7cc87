"""A gallery encoded once, kept on disk, and searched: videos by text, pictures by reference and text."""

from gatefuse_plugins.retrieval.encoding import encode_gallery
from gatefuse_plugins.retrieval.kinds import GalleryKind, kind_of
from gatefuse_plugins.retrieval.queries import check_words, encode_composed, encode_text, unknown_words
from gatefuse_plugins.retrieval.searching import BACKENDS, GallerySearcher, Hit
from gatefuse_plugins.retrieval.storage import GalleryIndex
from gatefuse_plugins.retrieval.vectors import GalleryVectors
from gatefuse_plugins.retrieval.writing import check_target, write_index

__all__ = [
    "BACKENDS",
    "GalleryIndex",
    "GalleryKind",
    "GallerySearcher",
    "GalleryVectors",
    "Hit",
    "check_target",
    "check_words",
    "encode_composed",
    "encode_gallery",
    "encode_text",
    "kind_of",
    "unknown_words",
    "write_index",
]
