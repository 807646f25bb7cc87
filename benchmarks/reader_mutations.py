"""Honest checkpoints of every layout, and the changes that ``reader_fuzz.py`` makes to them."""

from __future__ import annotations

import argparse
import io
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save

STATE = {
    "transformer.t2v_encoder.layers.0.linear1.weight": torch.arange(60.0).reshape(6, 10),
    "saliency_proj1.bias": torch.linspace(-1, 1, 7).half(),
    "transformer.encoder.norm.position_ids": torch.arange(5).expand(1, -1),
}


@dataclass(frozen=True)
class Honest:
    """A file as it was written, and whether its format carries checksums."""

    content: bytes
    protected: bool


def honest_files() -> dict[str, Honest]:
    """The files to mutate, by name; made in memory, the same on every call."""
    options = argparse.Namespace(lr=1e-4, device=torch.device("cuda:0"), dirs=["slowfast", "clip"])
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    upstream = {"model": STATE, "optimizer": optimizer.state_dict(), "epoch": 7, "opt": options}
    hub = {"log_scalars": {"train/loss": HistoryBuffer([1.0, 2.0], [1, 1])}, "seed": np.int64(3)}
    return {
        "qd_detr": Honest(_saved(upstream), True),
        "mmengine": Honest(_saved({"meta": {"epoch": 2}, "state_dict": STATE, "message_hub": hub}), True),
        "bare": Honest(_saved(STATE), True),
        "legacy": Honest(_saved(upstream, zipped=False), False),
        "safetensors": Honest(save({name: tensor.contiguous() for name, tensor in STATE.items()}), False),
    }


def _saved(content: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def splice(content: bytes, rng: random.Random) -> bytes:
    """Overwrite, insert or remove a run of bytes."""
    length = rng.choice((1, 4, 16, 64, 256))
    start, source = rng.randrange(len(content)), rng.randrange(len(content))
    return content[:start] + content[source : source + length] + content[start + rng.choice((0, length, 2 * length)) :]


def edit_header(content: bytes, rng: random.Random) -> bytes:
    """Set a field near a zip header, in a pickle or in front of a safetensors file to an extreme or random number."""
    marks = [at for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06") for at in _find(content, mark)]
    start = rng.choice(marks) if marks and rng.random() < 0.7 else rng.randrange(min(len(content), 2000))
    kind, high = rng.choice((("<B", 2**8), ("<H", 2**16), ("<L", 2**32), ("<Q", 2**64)))
    value = struct.pack(kind, rng.choice((0, 1, high - 1, high // 2, rng.randrange(high), len(content))) % high)
    at = start + rng.randrange(46)
    return content[:at] + value + content[at + len(value) :]


def _find(content: bytes, mark: bytes) -> list[int]:
    return [at for at in range(len(content)) if content.startswith(mark, at)] if mark in content else []


def reseal(content: bytes, rng: random.Random) -> bytes:
    """Mutate a zip archive's pickle and write the archive anew, so that its checksums fit."""
    mutate = rng.choice((flip_bits, splice, truncate))
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            record = old.read(name)
            new.writestr(name, mutate(record, rng) if name.endswith("data.pkl") else record)
    return target.getvalue()


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped bits": flip_bits,
    "truncated": truncate,
    "spliced": splice,
    "header edited": edit_header,
    "resealed": reseal,
}
