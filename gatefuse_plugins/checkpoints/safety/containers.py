"""The containers that tensors come in, checked before anything is read from them.

torch's zip reader inflates compressed records, verifies no checksum and takes sizes as it is told; a bit that flipped
in a weight would be loaded as it is. The zip format's checksums are therefore verified here. The format of torch before
1.6 and safetensors have none.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gatefuse_plugins.checkpoints.safety.tensors import require

ZIP_MAGIC = b"PK\x03\x04"
SAFETENSORS_MAX_HEADER = 16 * 2**20  # 100,000 tensors; the format itself would allow 100 MB
_MAX_PICKLE = 256 * 2**20
_CHUNK = 4 * 2**20
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_END_BYTES = 22
_FLAGS = 0x808  # sizes follow the data, names are UTF-8
_DIRECTORY = 0x10  # of a record so marked torch's reader returns zeros


@dataclass(frozen=True)
class TorchZip:
    """A checked ``torch.save`` archive.

    Attributes:
        pickle: the bytes of ``data.pkl``.
        storages: storage key to its size in bytes.
    """

    pickle: bytes
    storages: dict[str, int]


def read_torch_zip(path: Path) -> TorchZip:
    """Check an archive's directory, sizes and checksums, and read its pickle.

    Raises:
        ValueError: compressed, encrypted, overlapping, repeated or misnamed records, sizes beyond the file's, a
            checksum that does not fit, or no ``data.pkl``.
        OSError, zipfile.BadZipFile: the file cannot be read as a zip archive.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _END_BYTES))
        # two zip readers agree on where the directory lies only if nothing follows it
        require(stream.read().startswith(b"PK\x05\x06"), "the zip archive's end is missing: truncated")
        with zipfile.ZipFile(stream) as archive:
            records = archive.infolist()
        inner = {_inner(record) for record in records}
        require("constants.pkl" not in inner, "a TorchScript archive, which is code; expected a state dict")
        _check_directory(records, size)
        pickles = [record for record in records if record.filename.count("/") == 1 and _inner(record) == "data.pkl"]
        require(len(pickles) == 1, f"a zip archive with {len(pickles)} data.pkl; torch.save writes one")
        require(
            pickles[0].file_size <= _MAX_PICKLE, f"its pickle has {pickles[0].file_size} bytes; limit {_MAX_PICKLE}"
        )
        checked = any(record.CRC for record in records)  # torch can be told to write none
        for record in records:
            _check_record(stream, record, checked)
        content = b"".join(_chunks(stream, pickles[0]))
    storages = {_inner(record)[5:]: record.file_size for record in records if _inner(record).startswith("data/")}
    return TorchZip(content, storages)


def _inner(record: zipfile.ZipInfo) -> str:
    """A record's name below the archive's one top folder."""
    return record.filename.partition("/")[2]


def _check_directory(records: list[zipfile.ZipInfo], size: int) -> None:
    seen: set[str] = set()
    end = 0
    for record in sorted(records, key=lambda record: record.header_offset):
        name = record.orig_filename
        plain = name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(name.split("/"))
        require(plain, f"a record with the name {name[:80]!r}, which is no plain path")
        require(record.filename not in seen, f"the record {record.filename[:80]!r} twice")
        seen.add(record.filename)
        stored = record.compress_type == zipfile.ZIP_STORED and record.compress_size == record.file_size
        fault = f"the record {name[:80]!r} is compressed ({record.file_size} bytes of {record.compress_size})"
        require(stored, f"{fault}; torch.save compresses nothing. Unpack it and zip it again without compression")
        fine = not record.flag_bits & ~_FLAGS and not record.external_attr & _DIRECTORY
        require(fine, f"the record {name[:80]!r} is encrypted, a directory or a patch; torch.save writes plain records")
        require(record.header_offset >= end, f"the record {name[:80]!r} overlaps another")
        end = record.header_offset + _LOCAL_HEADER.size + record.file_size
        require(end <= size, f"the record {name[:80]!r} ends at byte {end} of {size}")
    require(len({name.partition("/")[0] for name in seen}) == 1, "a zip archive that torch.save did not write")


def _data_offset(stream: IO[bytes], record: zipfile.ZipInfo) -> int:
    stream.seek(record.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    require(len(header) == _LOCAL_HEADER.size, f"the record {record.filename!r:.80} is cut off")
    magic, _, _, method, *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    name = stream.read(name_bytes)
    fits = magic == ZIP_MAGIC and method == zipfile.ZIP_STORED and name == record.orig_filename.encode()
    require(fits, f"the record {record.filename!r:.80} differs from the archive's directory")
    return record.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes


def _chunks(stream: IO[bytes], record: zipfile.ZipInfo) -> Iterator[bytes]:
    stream.seek(_data_offset(stream, record))
    left = record.file_size
    while left:
        chunk = stream.read(min(left, _CHUNK))
        require(bool(chunk), f"the record {record.filename!r:.80} is cut off")
        left -= len(chunk)
        yield chunk


def _check_record(stream: IO[bytes], record: zipfile.ZipInfo, checked: bool) -> None:
    checksum = 0
    for chunk in _chunks(stream, record):
        checksum = zlib.crc32(chunk, checksum)
        if not checked:
            break
    fits = checksum == record.CRC or not checked
    require(fits, f"the checksum of {record.filename!r:.80} does not fit: its bytes changed after they were written")


def check_safetensors_header(path: Path) -> None:
    """Check what the format's own reader leaves open: size of the header, and names that come twice.

    Raises:
        ValueError: a header beyond the file or the limit, malformed JSON, or a name that comes twice.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        declared = int.from_bytes(stream.read(8), "little")
        require(declared <= size - 8, f"its header should have {declared} bytes, the file has {size}: truncated")
        fault = f"its header has {declared} bytes; limit {SAFETENSORS_MAX_HEADER}, enough for 100,000 tensors"
        require(declared <= SAFETENSORS_MAX_HEADER, fault)
        header = stream.read(declared)
    try:
        json.loads(header, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        last = {name: at for at, (name, _) in enumerate(pairs)}
        twice = next(name for at, (name, _) in enumerate(pairs) if last[name] != at)
        raise ValueError(f"its header holds the name {twice[:80]!r} twice")
    return entries


def walk_legacy_storages(stream: IO[bytes], keys: Any, declared: dict[str, int]) -> None:
    """Check the raw storages that follow the pickles of a file from torch before 1.6, without reading them.

    Args:
        stream: stands behind the last pickle.
        keys: what that pickle held: the storages' keys in the order of their data.
        declared: bytes of each storage as the main pickle refers to it.

    Raises:
        ValueError: keys and references differ, or the file ends early.
    """
    names = isinstance(keys, list) and all(type(key) is str for key in keys)
    require(names and len(set(keys)) == len(keys), "a malformed list of storages")
    require(set(declared) == set(keys), "storages that the file does not hold, or that nothing refers to")
    size = os.fstat(stream.fileno()).st_size
    position = stream.tell()
    for key in keys:
        position += 8 + declared[key]
        require(position <= size, f"storage {key!r:.40} ends at byte {position} of {size}: truncated")
