"""Captions to token ids, with BERT's WordPiece vocabulary or a small one that ships with the package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.hosts.blip2_cir.weights import load_from_hub
from gatefuse_plugins.registry import MODELS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PADDINGS = ("max_length", "longest")
MAX_WORDS = 50


@dataclass(frozen=True)
class TextBatch:
    """Token ids (B, T) and their boolean mask (B, T), True = valid."""

    input_ids: Tensor
    mask: Tensor


def clean_caption(caption: str) -> str:
    """Lower case, without ``.!"()*#:;~``, single spaces, at most 50 words (as LAVIS's ``blip_caption`` processor)."""
    text = re.sub(r"\s{2,}", " ", re.sub(r"[.!\"()*#:;~]", " ", caption.lower()))
    return " ".join(text.rstrip("\n").strip(" ").split(" ")[:MAX_WORDS])


@MODELS.register_module()
class CaptionTokenizer:
    """Cleans and tokenises captions.

    Args:
        vocabulary: ``"tiny"`` (the shipped small vocabulary), a folder with ``vocab.txt``, or a hub name.
        max_length: tokens kept, [CLS] and [SEP] included; longer captions are cut.
        padding: ``max_length`` (upstream) or ``longest`` of the batch (the same results, faster).

    Raises:
        ConfigError: unknown ``padding``.
        WeightsUnavailableError: the vocabulary cannot be found.
    """

    def __init__(
        self, vocabulary: str = "bert-base-uncased", max_length: int = 32, padding: str = "max_length"
    ) -> None:
        if padding not in PADDINGS:
            raise ConfigError(f"CaptionTokenizer padding {padding!r} is unknown{suggestion(padding, PADDINGS)}")
        self.max_length, self.padding = max_length, padding
        self.tokenizer = _load_tokenizer(vocabulary)
        # captions repeat every epoch; 2^17 covers CIRR's and FashionIQ's training sets
        self._encode = lru_cache(maxsize=1 << 17)(self._encode_one)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def _encode_one(self, caption: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(clean_caption(caption), truncation=True, max_length=self.max_length).input_ids)

    def __call__(self, captions: Sequence[str], device: torch.device | str = "cpu") -> TextBatch:
        """Token ids and mask on ``device``; an empty caption becomes [CLS] [SEP]."""
        encoded = [self._encode(caption) for caption in captions]
        length = self.max_length if self.padding == "max_length" else max(map(len, encoded), default=2)
        input_ids = torch.full((len(encoded), length), self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros((len(encoded), length), dtype=torch.bool)
        for row, ids in enumerate(encoded):
            input_ids[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = True
        return TextBatch(input_ids.to(device), mask.to(device))

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_encode"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._encode = lru_cache(maxsize=1 << 17)(self._encode_one)


def _load_tokenizer(vocabulary: str) -> PreTrainedTokenizerBase:
    from transformers import BertTokenizerFast

    if vocabulary == "tiny":
        path = files("gatefuse_plugins.hosts.blip2_cir").joinpath("tiny_vocab.txt")
        # the first name is transformers 4's, the second 5's; either ignores the other's, and then knows no word
        tokenizer = BertTokenizerFast(vocab_file=str(path), vocab=str(path))
        if len(tokenizer) < len(path.read_text(encoding="utf-8").splitlines()):
            import transformers

            raise RuntimeError(f"transformers {transformers.__version__} did not read the vocabulary {path}")
    else:
        tokenizer = load_from_hub(
            vocabulary, BertTokenizerFast.from_pretrained, ("vocab.txt",), "model.tokenizer.vocabulary"
        )
    # LAVIS adds this token for caption generation, so its checkpoints have 30523 embeddings
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    return tokenizer
