"""Names, header and index entries of a gate store; see ``storage.py`` for the picture."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.planes import encode
from gatefuse_plugins.recording.value_sinks import TapValues

FORMAT = 1
HEADER_FILE, INDEX_FILE, PART_FILE = "header.json", "index.jsonl", "part-{:05d}.bin"


def describe_tap(tap: GateTap) -> dict[str, Any]:
    """A tap in the header."""
    return {"kind": tap.kind, "layer": tap.layer, "low": tap.low, "high": tap.high, "neutral": tap.neutral}


def checksum(planes: Iterable[bytes]) -> int:
    """CRC-32 of the planes, one after the other."""
    check = 0
    for plane in planes:
        check = zlib.crc32(plane, check)
    return check


class Block:
    """What one tap gave in one forward: valid rows of all samples, one sample after the other, coded.

    Attributes:
        coded: the rows (rows of all samples, ...).
        lengths: rows of each sample.
        size: bytes.
    """

    def __init__(self, found: TapValues) -> None:
        self._found = found
        if found.valid is None:
            rows = found.values.reshape(-1, *found.values.shape[2:])
            self.lengths = [found.values.shape[1]] * len(found.values)
        else:
            rows = found.values[found.valid]
            self.lengths = [int(count) for count in found.valid.sum(axis=1)]
        self.coded = encode(np.ascontiguousarray(rows))
        self.size = sum(map(len, self.coded.planes))

    def entry(self, offset: int) -> dict[str, Any]:
        """The block in the index, when its first byte stands at ``offset``."""
        return {
            "tap": self._found.name,
            "pass": self._found.pass_index,
            "offset": offset,
            "sizes": [len(plane) for plane in self.coded.planes],
            "coded": [int(flag) for flag in self.coded.coded],
            "dtype": self.coded.dtype,
            "shape": list(self.coded.shape[1:]),
            "lengths": self.lengths[0] if len(set(self.lengths)) == 1 else self.lengths,
            "crc": checksum(self.coded.planes),
        }
