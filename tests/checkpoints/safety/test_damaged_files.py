"""Files that are not what they seem: each gives one CheckpointError, soon and without taking much memory."""

from __future__ import annotations

import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import STATE, refuse, replace_in_pickle, rezip
from mmengine.optim import OneCycleLR

from gatefuse_plugins.checkpoints.migration import open_source
from gatefuse_plugins.checkpoints.pickles import read_file
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError


def test_rezipping_alone_changes_nothing(honest: Path) -> None:
    state = read_checkpoint(rezip(honest, lambda name, content: content)).state_dict
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_compressed_records(honest: Path) -> None:
    bomb = honest.with_name("bomb.pt")
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        with new.open("honest/data/9", "w") as record:
            for _ in range(256):
                record.write(bytes(2**20))
    assert bomb.stat().st_size < 10**6
    refuse(bomb, "is compressed .*torch.save compresses nothing")


def test_overlapping_and_repeated_records(honest: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        refuse(rezip(honest, lambda name, content: content, [("honest/data/0", bytes(24))]), "the record .* twice")
    content = bytearray(honest.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    first = content.index(b"PK\x01\x02")
    assert first < directory
    content[directory + 42 : directory + 46] = content[first + 42 : first + 46]  # two entries lead to one record
    path = honest.with_name("overlap.pt")
    path.write_bytes(content)
    refuse(path, "overlaps another|differs from the archive's directory")


@pytest.mark.parametrize("name", ["honest/../../x", "/etc/passwd", "honest/a\\b", "honest/a\nb", "other/x"])
def test_record_names_with_path_tricks(honest: Path, name: str) -> None:
    refuse(rezip(honest, lambda _, content: content, [(name, b"x")]), "no plain path|torch.save did not write")


@pytest.mark.parametrize(("place", "value"), [(8, 0x01), (8, 0x20), (8, 0x40), (38, 0x10)])
def test_records_that_are_marked_as_something_else(honest: Path, place: int, value: int) -> None:
    """Flags of the directory entry; torch reads zeros from a record that is marked as a directory."""
    content = bytearray(honest.read_bytes())
    entry = content.index(b"honest/data/0", content.index(b"PK\x01\x02")) - 46
    content[entry + place] |= value
    path = honest.with_name("marked.pt")
    path.write_bytes(content)
    refuse(path, "is encrypted, a directory or a patch")


def test_record_sizes_beyond_the_file(honest: Path) -> None:
    content = bytearray(honest.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<2L", 2**31, 2**31)
    path = honest.with_name("sizes.pt")
    path.write_bytes(content)
    refuse(path, "overlaps another|ends at byte")


@pytest.mark.parametrize("mmap", [False, True])
def test_flipped_bit_in_a_weight(honest: Path, mmap: bool) -> None:
    """torch.load verifies no checksum and would hand out the changed weight."""
    content = bytearray(honest.read_bytes())
    content[content.index(STATE["a.weight"].numpy().tobytes()) + 6] ^= 0x20
    path = honest.with_name("flipped.pt")
    path.write_bytes(content)
    assert not torch.equal(torch.load(path)["model"]["a.weight"], STATE["a.weight"])
    with pytest.raises(CheckpointError, match="checksum of 'honest/data/0' does not fit"):
        read_file(path, trust=False, mmap=mmap)


def test_archive_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_checkpoint(tmp_path / "a.pt").state_dict["a.weight"], STATE["a.weight"])


def test_truncated_at_every_place(tmp_path: Path) -> None:
    for zipped in (True, False):
        torch.save(STATE, tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
        whole = (tmp_path / "whole.pt").read_bytes()
        path = tmp_path / "cut.pt"
        for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
            path.write_bytes(whole[:length])
            refuse(path, "not a readable checkpoint|is empty")


def test_big_endian_archive_is_read_right(honest: Path) -> None:
    def swap(name: str, content: bytes) -> bytes:
        size = {"honest/data/0": 4, "honest/data/1": 8}.get(name)
        if name.endswith("byteorder"):
            return b"big"
        return content if size is None else np.frombuffer(content, f"u{size}").byteswap().tobytes()

    assert sys.byteorder == "little", "written for little-endian machines"
    state = read_checkpoint(rezip(honest, swap)).state_dict
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    unknown = rezip(honest, lambda name, content: b"middle" if name.endswith("byteorder") else content)
    refuse(unknown, "not a readable checkpoint .*endianness")


def test_pipe_device_and_directory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refuse(tmp_path / "pipe", "is a pipe, socket or device")
    refuse(Path("/dev/zero"), "is a pipe, socket or device")
    refuse(tmp_path, "is a directory")


def training_checkpoint(path: Path) -> Path:
    """What mmengine writes, with the state of a one-cycle schedule, which names functions of its class."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    schedule = OneCycleLR(optimizer, eta_max=1.0, total_steps=10).state_dict()
    content = {"meta": {"epoch": 1}, "state_dict": STATE, "message_hub": {}, "optimizer": optimizer.state_dict()}
    torch.save(content | {"param_schedulers": [schedule]}, path)
    return path


def test_one_cycle_schedules_are_read(tmp_path: Path) -> None:
    path = training_checkpoint(tmp_path / "iter_1.pth")
    assert set(open_source(path).training) == {"message_hub", "optimizer", "param_schedulers"}
    assert torch.equal(read_checkpoint(path).state_dict["a.weight"], STATE["a.weight"])
    hostile = replace_in_pickle(path, b"_annealing_cos", b"__reduce_ex__x")
    refuse(hostile, r"builtins\.getattr\(.*OneCycleParamScheduler, '__reduce_ex__x'\)")


def test_a_damaged_training_checkpoint_is_refused_by_migration_too(tmp_path: Path) -> None:
    path = training_checkpoint(tmp_path / "iter_1.pth")
    content = bytearray(path.read_bytes())
    content[content.index(STATE["a.weight"].numpy().tobytes()) + 6] ^= 0x20
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not fit: its bytes changed"):
        open_source(path)


def test_safetensors_of_the_other_byte_order(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack(">Q", len(header)) + header + bytes(24))
    refuse(tmp_path / "a.safetensors", "not a readable checkpoint|damaged safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"\x00",
        b"PK\x03\x04",
        b"\x80\x02.",
        b"\x80\x02N.",
        b"{" * 10,
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        b"\x93NUMPY" + bytes(90),
    ],
)
def test_other_kinds_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    refuse(tmp_path / "a", "not a readable checkpoint")


def test_torch_script_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    refuse(tmp_path / "a.pt", "TorchScript archive, which is code")


def safetensors(path: Path, header: bytes, data: bytes = bytes(24), length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def test_safetensors_headers(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    path = tmp_path / "a.safetensors"
    honest = json.dumps({"a": entry}).encode()
    assert read_checkpoint(safetensors(path, honest)).state_dict["a"].shape == (2, 3)
    refuse(safetensors(path, honest, length=2**40), "header should have 1099511627776 bytes")
    refuse(safetensors(path, b"{" + b" " * 2**24 + honest[1:]), "header has 16777281 bytes; limit 16777216")
    refuse(safetensors(path, honest[:-1] + b", " + honest[1:]), "the name 'a' twice")
    refuse(safetensors(path, json.dumps({"a": entry | {"shape": [2, 300]}}).encode()), "damaged safetensors")
    refuse(safetensors(path, json.dumps({"a": entry | {"shape": [2**62, 2**62]}}).encode()), "damaged safetensors")
    refuse(safetensors(path, json.dumps({"a": entry | {"data_offsets": [0, 2**60]}}).encode()), "damaged safetensors")
    refuse(safetensors(path, json.dumps({"a": entry | {"dtype": "X9"}}).encode()), "damaged safetensors")
    refuse(safetensors(path, b'{"a":' * 20000 + b"1" + b"}" * 20000), "damaged safetensors")
    refuse(safetensors(path, json.dumps({"../a": entry}).encode()), "names that no parameter has")
