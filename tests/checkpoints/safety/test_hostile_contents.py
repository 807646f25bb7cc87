"""Whole files whose contents lie: tensors beyond their bytes, names that mislead, weights that are no numbers."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import STATE, refuse, replace_in_pickle, rezip

from gatefuse_plugins.checkpoints.reader import read_checkpoint


def test_storage_that_is_smaller_than_it_says(honest: Path) -> None:
    lying = replace_in_pickle(honest, b"K\x06t", b"K\x60t")  # 96 elements for 6
    refuse(lying, "storage '0' should have 384 bytes, the file holds 24")
    refuse(replace_in_pickle(honest, b"X\x01\x00\x00\x000q", b"X\x01\x00\x00\x007q"), "the file holds 0")


def test_tensor_that_is_larger_than_its_storage(honest: Path) -> None:
    refuse(
        replace_in_pickle(honest, b"K\x02K\x03\x86", b"K\x02K\x7f\x86"), r"shape \(2, 127\) needs 520 bytes .* of 24"
    )
    refuse(replace_in_pickle(honest, b"QK\x00K\x02", b"QK\x09K\x02"), "of a storage of 24")
    refuse(replace_in_pickle(honest, b"K\x03K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86"), "malformed stride of a tensor")


def test_tensor_that_repeats_one_number_for_ever(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**15)}, tmp_path / "a.pt")
    refuse(tmp_path / "a.pt", "repeats a storage of 4 bytes")
    torch.save({"a": torch.ones(1).expand(512)}, tmp_path / "b.pt")
    assert read_checkpoint(tmp_path / "b.pt").state_dict["a"].sum() == 512


def test_numpy_array_with_more_elements_than_bytes(tmp_path: Path) -> None:
    torch.save({"model": STATE, "x": np.arange(5, dtype=np.uint8)}, tmp_path / "a.pt")
    refuse(replace_in_pickle(tmp_path / "a.pt", b"K\x05\x85", b"K\x7f\x85"), "127,. with 5 bytes, not 127")


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/passwd", "a\0b", "a..b", "a.", "", "a\nb", "a\\b", "a\u202eb"])
def test_tensor_names_with_path_tricks(tmp_path: Path, name: str) -> None:
    torch.save({"model": {**STATE, name: torch.zeros(1)}}, tmp_path / "a.pt")
    refuse(tmp_path / "a.pt", "1 of 3 tensors have names that no parameter has")


def test_key_that_comes_twice(honest: Path) -> None:
    refuse(replace_in_pickle(honest, b"b.weight", b"a.weight"), "the key 'a.weight' twice in one dict")


def test_nan_weights_are_loaded_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = torch.ones(10)
    weights[[1, 4]] = torch.tensor([float("nan"), float("-inf")])
    state = {"a": weights, "b": torch.full((3,), 3e38), "c": torch.tensor([2**60]), "d": weights.half()}
    torch.save(state, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    assert checkpoint.non_finite == {"a": 2, "d": 2}
    assert torch.equal(checkpoint.state_dict["a"].isnan(), weights.isnan())
    printed = capsys.readouterr()
    assert "NaN or infinite values in 2 of 4 tensors: a (2), d (2)" in printed.out + printed.err


def test_honest_extras_stay_readable(tmp_path: Path) -> None:
    """Every plain value that the checkpoints in use carry, in both formats of torch.save."""
    numpy_types = ("bool", "int8", "uint16", "uint32", "uint64", "float16", "float64", "complex64")
    extras = {name: np.ones((2, 3), dtype=name) for name in numpy_types}
    options = argparse.Namespace(
        device=torch.device("cuda:1"), dtype=torch.bfloat16, size=torch.Size([1, 2]), none=None
    )
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    moments = optimizer.state_dict()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5]).state_dict()
    tensors = {"p": torch.nn.Parameter(torch.ones(2)), "half": torch.ones(2).bfloat16(), "view": torch.arange(9)[2:5]}
    content = {
        "model": {**STATE, **tensors},
        "opt": options,
        "optimizer": moments,
        "schedule": schedule,
        **extras,
        "big": 2**70,
        "f": 1e-3,
    }
    for zipped in (True, False):
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        checkpoint = read_checkpoint(tmp_path / "a.pt")
        assert checkpoint.meta["schedule"] == schedule
        assert checkpoint.meta["opt"] == options and checkpoint.meta["big"] == 2**70
        assert all(np.array_equal(checkpoint.meta[name], extras[name]) for name in numpy_types)
        assert checkpoint.state_dict["view"].tolist() == [2, 3, 4]


def test_pickle_that_goes_on_and_on(honest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatefuse_plugins.checkpoints.safety.dry_run._MAX_INSTRUCTIONS", 1000)
    read_checkpoint(honest)

    def endless(name: str, content: bytes) -> bytes:
        return b"\x80\x02]" + b"N" * 2000 if name.endswith("data.pkl") else content

    refuse(rezip(honest, endless), "a pickle of more than 1000 instructions")
