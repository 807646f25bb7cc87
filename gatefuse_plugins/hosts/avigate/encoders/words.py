"""Captions to token ids by a vocabulary of whole words, for text encoders that are trained from scratch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor

from gatefuse_plugins.data.clips import caption_words
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.files import atomic_writer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]")
PAD, UNKNOWN, START = range(len(SPECIAL))

_WORD = re.compile(r"\w+|[^\w\s]")


def split_words(caption: str) -> list[str]:
    """Lower-case words and single signs, of any script."""
    return _WORD.findall(caption.lower())


def write_vocabulary(path: str | Path, captions: Iterable[str], min_count: int = 1) -> int:
    """Write the words that occur ``min_count`` times in ``captions``, one a line; returns how many."""
    counts = Counter(word for caption in captions for word in split_words(caption))
    words = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
    with atomic_writer(path, "w") as stream:
        stream.writelines(word + "\n" for word in words)
    return len(words)


class WordTokenizer:
    """Tokenises captions; a word outside the vocabulary becomes [UNK], a caption beyond the context is cut.

    Both are counted over distinct captions, and the first of each is logged.

    Args:
        vocabulary: ``"clips"`` (the closed one of the embedded clips), or a file with one word a line.
        context_length: tokens of a caption, [CLS] included.

    Attributes:
        cut_captions: distinct captions that were cut.
        unknown_words: words of distinct captions that became [UNK].

    Raises:
        ConfigError: ``context_length`` is below 2.
        DataError: no such file, or one with empty or repeated lines.
    """

    def __init__(self, vocabulary: str = "clips", context_length: int = 24) -> None:
        if context_length < 2:
            raise ConfigError(f"context_length={context_length}, expected at least 2 ([CLS] and a word)")
        words = caption_words() if vocabulary == "clips" else _read_vocabulary(Path(vocabulary))
        self.ids = {word: number for number, word in enumerate([*SPECIAL, *words])}
        self.context_length = context_length
        self.cut_captions = self.unknown_words = 0
        self._known: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __call__(self, captions: Sequence[str], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Ids (B, N) int64 and mask (B, N), N the longest of the batch; an empty caption is [CLS] alone."""
        rows = [self._known.get(caption) or self._encode(caption) for caption in captions]
        ids = torch.full((len(rows), max(map(len, rows), default=1)), PAD, dtype=torch.long)
        for row, found in enumerate(rows):
            ids[row, : len(found)] = torch.tensor(found)
        return ids.to(device), (ids != PAD).to(device)

    def _encode(self, caption: str) -> tuple[int, ...]:
        words = split_words(caption)
        unknown = [word for word in words if word not in self.ids]
        if unknown and not self.unknown_words:
            _warn(f"the vocabulary lacks {unknown[0]!r} of the caption {caption!r}, it becomes [UNK]")
        self.unknown_words += len(unknown)
        if len(words) >= self.context_length:
            if not self.cut_captions:
                _warn(f"{caption!r} has {len(words)} words, cut to {self.context_length - 1} (context_length)")
            self.cut_captions += 1
        found = (START, *(self.ids.get(word, UNKNOWN) for word in words[: self.context_length - 1]))
        self._known[caption] = found
        return found


def _warn(message: str) -> None:
    print_log(f"captions: {message}; later ones are counted, not logged", logger="current")


def _read_vocabulary(path: Path) -> list[str]:
    try:
        words = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"vocabulary={str(path)!r} cannot be read ({error}); expected 'clips' or a file with one word a line"
        ) from error
    repeated = [word for word, count in Counter(words).items() if count > 1 or not word.strip() or word in SPECIAL]
    if repeated or not words:
        raise DataError(f"{path}: empty, repeated or reserved lines {repeated[:5]}; expected one distinct word a line")
    return words
