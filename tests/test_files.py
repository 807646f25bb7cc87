"""JSON that any reader takes: no NaN, plain values only, and whole or not at all."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gatefuse_plugins.files import exclusive, plain, read_json, write_json


@dataclass(frozen=True)
class Figure:
    mean: float
    parts: tuple[float, ...]


def test_written_json_holds_no_nan_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    figure = Figure(math.nan, (0.5, -math.inf))
    write_json(path, {3: figure, "array": np.float32([[1.5, np.inf]]), "at": tmp_path, "flags": [True, None, "é"]})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse) == {
        "3": {"mean": None, "parts": [0.5, None]},
        "array": [[1.5, None]],
        "at": str(tmp_path),
        "flags": [True, None, "é"],
    }


def test_what_json_has_no_form_for_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_json(path, [1])
    with pytest.raises(TypeError, match="set"):
        write_json(path, {"a": {1, 2}})
    assert read_json(path) == [1]


def test_numpy_scalars_become_pythons_own() -> None:
    values = plain([np.int64(3), np.float64("nan"), np.bool_(True)])
    assert values == [3, None, True]
    assert [type(value) for value in values] == [int, type(None), bool]


def test_who_waits_for_a_lock_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, order = threading.Event(), []

    def note(message: str, logger: str) -> None:
        order.append(message)
        said.set()

    def wait() -> None:
        with exclusive(tmp_path / "deep" / "lock"):
            order.append("mine")

    monkeypatch.setattr("mmengine.logging.print_log", note)
    waiter = threading.Thread(target=wait)
    with exclusive(tmp_path / "deep" / "lock"):
        waiter.start()
        assert said.wait(timeout=20)
    waiter.join(timeout=20)
    assert order == [f"{tmp_path}/deep/lock: another process is at work here, waiting for it", "mine"]
