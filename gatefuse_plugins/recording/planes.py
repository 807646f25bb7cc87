"""Gate values as compressed bytes and back, without loss.

The bytes of a number are stored apart, all first bytes, then all second ones. Of a float16 gate the byte with sign and
exponent takes few values and is coded in 3 to 5 bits by Huffman's method; the rest of the mantissa is noise and stays
as it is. That takes about 1.4 to 1.65 bytes for each value of a gate that varies, and far less for one that does not.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError

_WORDS: dict[str, np.dtype[Any]] = {"float16": np.dtype(np.uint16), "float32": np.dtype(np.uint32)}
DTYPES = tuple(_WORDS)
_PROBE = 4096
# Huffman codes alone: the search for repeated strings costs ten times as much and finds none in noise.
_METHOD = (1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_HUFFMAN_ONLY)


@dataclass(frozen=True)
class Coded:
    """One array.

    Attributes:
        dtype: one of ``DTYPES``.
        shape: of the array.
        planes: from the lowest byte up, each coded, or as it is where that is no longer.
        coded: which planes are coded.
    """

    dtype: str
    shape: tuple[int, ...]
    planes: tuple[bytes, ...]
    coded: tuple[bool, ...]


def encode(values: NDArray[Any]) -> Coded:
    """``values`` (float16 or float32) coded; any shape, NaN and infinities included."""
    if str(values.dtype) not in DTYPES:
        raise DataError(f"gate values are {values.dtype}; expected {' or '.join(DTYPES)}")
    flat = np.ascontiguousarray(values).reshape(-1)
    words: NDArray[Any] = flat.view(_WORDS[str(values.dtype)])
    parts = [(words >> (8 * at)).astype(np.uint8).tobytes() for at in range(words.itemsize)]
    planes, coded = zip(*(_shorter(part) for part in parts), strict=True)
    return Coded(str(values.dtype), values.shape, planes, coded)


def _shorter(plane: bytes) -> tuple[bytes, bool]:
    middle = max(0, len(plane) - _PROBE) // 2
    probe = plane[middle : middle + _PROBE]
    if len(_deflate(probe)) > 0.95 * len(probe):  # a glance saves the work on noise
        return plane, False
    found = _deflate(plane)
    return (found, True) if len(found) < len(plane) else (plane, False)


def _deflate(plane: bytes) -> bytes:
    coder = zlib.compressobj(*_METHOD)
    return coder.compress(plane) + coder.flush()


def decode(coded: Coded) -> NDArray[Any]:
    """The array, bit for bit.

    Raises:
        DataError: the bytes are no such planes.
    """
    size = int(np.prod(coded.shape, dtype=np.int64))
    if coded.dtype not in _WORDS:
        raise DataError(f"gate values are {coded.dtype}; expected {' or '.join(DTYPES)}")
    word = _WORDS[coded.dtype]
    words: NDArray[Any] = np.zeros(size, word)
    for at, (plane, is_coded) in enumerate(zip(coded.planes, coded.coded, strict=True)):
        raw = _inflate(plane, size) if is_coded else plane
        if len(raw) != size:
            raise DataError(f"a plane of gate values has {len(raw)} bytes, expected {size}")
        words |= np.left_shift(np.frombuffer(raw, np.uint8).astype(word), 8 * at, dtype=word)
    return words.view(coded.dtype).reshape(coded.shape)


def _inflate(plane: bytes, size: int) -> bytes:
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # one byte more than there should be shows that there are too many, and a small file cannot fill the memory
        return decoder.decompress(plane, size + 1) or decoder.flush()
    except zlib.error as error:
        raise DataError(f"a plane of gate values cannot be decompressed ({error})") from error
