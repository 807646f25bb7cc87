"""From command line to an answer out of a gallery index: what ``tools/search.py`` runs."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint
from gatefuse_plugins.data.cache_builder import module_digest
from gatefuse_plugins.data.transforms import build_transform
from gatefuse_plugins.errors import CheckpointError, ConfigError, DataError, suggestion
from gatefuse_plugins.launch_index import load_model
from gatefuse_plugins.retrieval import (
    GalleryIndex,
    GallerySearcher,
    Hit,
    check_words,
    encode_composed,
    encode_text,
    unknown_words,
)


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        query, reference: as asked.
        gallery: items in the index.
        dataset: identity of the indexed data set.
        notes: what the reader should know about this answer.
        hits: best first.
    """

    query: str
    reference: str | None
    gallery: int
    dataset: dict[str, Any]
    notes: list[str]
    hits: list[Hit]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def launch_search(args: argparse.Namespace) -> Answer:
    """Answer one query from the index ``args.index``.

    Raises:
        CheckpointError: the index's checkpoint is not there, or its bytes have changed.
        ConfigError: an argument that does not fit the index or cannot be served.
        DataError: the index or the reference picture cannot be read, or the query holds no word.
    """
    check_words(args.query)
    index = GalleryIndex.open(args.index)
    _check_arguments(index, args)
    reference = None if args.reference is None else _find_reference(index, args.reference)
    path = args.checkpoint or index.header["checkpoint"]
    index.check_checkpoint(path)
    model = load_indexed_model(index, read_checkpoint(path, args.trust))
    searcher = GallerySearcher(index, model, args.backend, args.candidates)
    query, row = _encode(index, model, args.query, reference), None if reference is None else reference[1]
    hits = searcher.search(query, args.k, row)
    notes = _notes(model, args.query)
    if args.k > len(hits):
        notes.append(f"{args.k} asked for, the gallery has {len(hits)} to offer")
    if row is not None:
        notes.append(f"{index.names[row]} is the reference and left out")
    return Answer(args.query, args.reference, len(index.names), dict(index.header["dataset"]), notes, hits)


def load_indexed_model(index: GalleryIndex, checkpoint: Checkpoint) -> nn.Module:
    """The model that encodes queries for ``index``, with its vision encoder where pictures are searched.

    Raises:
        CheckpointError: the weights do not fit, or the vision encoder is another one than the gallery's.
    """
    model = load_model(index.model_config(), checkpoint)
    expected = index.header.get("vision_digest")
    if expected is None:
        return model
    if (digest := module_digest(model.visual_encoder)) != expected:
        raise CheckpointError(
            f"{index.folder}: the pictures were encoded with vision encoder {expected[:12]}, but model.vision gives"
            f" {digest[:12]}; put the weights of that encoder back, or make the index again"
        )
    return model


def _check_arguments(index: GalleryIndex, args: argparse.Namespace) -> None:
    if args.k < 1:
        raise ConfigError(f"-k {args.k}: expected at least 1")
    pictures = index.header["kind"] == "image"
    if pictures and args.reference is None:
        raise ConfigError(f"{args.index}: indexes pictures for composed retrieval; add --reference IMAGE to the text")
    if not pictures and args.reference is not None:
        raise ConfigError(
            f"--reference {args.reference}: {args.index} indexes videos, which are searched by text alone"
        )


def _find_reference(index: GalleryIndex, wanted: str) -> tuple[str, int | None]:
    """File of a gallery name or path, and its gallery row where it has one."""
    if wanted in index.names:
        row = index.names.index(wanted)
        path = index.paths[row]
        if path is None:
            raise DataError(f"--reference {wanted}: the index knows no file of it; give the picture's path")
        return path, row
    if not Path(wanted).is_file():
        raise DataError(
            f"--reference {wanted}: neither a file nor a picture of the gallery{suggestion(wanted, index.names)}"
        )
    resolved = str(Path(wanted).resolve())
    return wanted, index.paths.index(resolved) if resolved in index.paths else None


def _encode(index: GalleryIndex, model: nn.Module, text: str, reference: tuple[str, int | None] | None) -> Tensor:
    if reference is None:
        return encode_text(model, text)
    transform = build_transform(index.header["transform"])
    return encode_composed(model, reference[0], text, transform, index.header["token_dtype"])


def _notes(model: nn.Module, text: str) -> list[str]:
    unknown, count = unknown_words(model, text)
    if not unknown:
        return []
    listed = ", ".join(unknown[:10])
    if len(unknown) == count:
        return [f"no word of the query is in the model's vocabulary ({listed}): this order does not depend on them"]
    return [f"not in the model's vocabulary: {listed}"]
