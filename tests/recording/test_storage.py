"""Raw gate values on disk come back bit for bit, whatever happens to the writer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gated_models import Layered, gate_values

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.gates.tap import GateTap, gate_taps
from gatefuse_plugins.recording.planes import decode, encode
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.store_reader import GateStore
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink

MASK = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5])


def record(folder: Path, ids: Sequence[Any] = ("a", "b", "c"), seed: int = 0, part_bytes: int = 2**28) -> torch.Tensor:
    model, values = Layered(), gate_values(3, seed=seed)
    with GateStoreWriter(folder, dict(gate_taps(model)), part_bytes) as writer:
        sink = ValuesSink(writer.append, half=True)
        with record_gates(model, reduce="moments", sample_ids=ids, sinks=[sink]):
            model(values, MASK)
    return values


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_coding_is_lossless(dtype: str) -> None:
    random = np.random.default_rng(0)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-7, 65504], dtype)
    for values in (
        random.standard_normal((50, 7)).astype(dtype),
        special,
        np.zeros((0, 4), dtype),
        np.ones(9999, dtype),
    ):
        found = decode(encode(values))
        assert found.shape == values.shape and found.tobytes() == values.tobytes()


def test_gates_take_at_most_a_byte_and_three_quarters() -> None:
    for seed, squash in enumerate((torch.tanh, torch.sigmoid)):
        values = squash(torch.randn(75, 256, generator=torch.Generator().manual_seed(seed))).half().numpy()
        assert sum(map(len, encode(values).planes)) <= 1.75 * values.size
    assert sum(map(len, encode(np.full(20000, 0.5, np.float16)).planes)) < 0.3 * 20000


def test_store_gives_back_valid_values(tmp_path: Path) -> None:
    values = record(tmp_path)
    store = GateStore(tmp_path)
    assert store.samples == ["a", "b", "c"]
    assert store.taps["attention.1"] == {"kind": "attention", "layer": 1, "low": -1.0, "high": 1.0, "neutral": 0.0}
    assert np.array_equal(store.read("a", "attention.0"), values[0].half().numpy())
    assert np.array_equal(store.read("b", "attention.1"), (values[1, :2] / 2).half().numpy())
    assert store.read("c", "attention.0").shape == (0, 3)
    assert store.read("c", "ffn.0").tolist() == [[values[2, 0, 0].half().item()]]
    assert [sample for sample, gates in store if set(gates) == set(store.taps)] == ["a", "b", "c"]
    with pytest.raises(DataError, match="no gate 'attention.2'; did you mean"):
        store.read("a", "attention.2")
    with pytest.raises(DataError, match="no sample 'd'"):
        store.read("d", "ffn.0")
    with pytest.raises(DataError, match="pass 1"):
        store.read("a", "ffn.0", 1)


def test_appending_new_parts_and_reading_meanwhile(tmp_path: Path) -> None:
    record(tmp_path, part_bytes=1)
    store = GateStore(tmp_path)
    later = record(tmp_path, ids=["d", "e", "f"], seed=1, part_bytes=1)
    record(tmp_path, ids=["g", "h", "i"], seed=2, part_bytes=1)
    assert len(store.samples) == 3 and store.refresh() == 9
    assert np.array_equal(store.read("d", "attention.0"), later[0].half().numpy())
    assert len(list(tmp_path.glob("part-*.bin"))) == 3


def test_values_beyond_float16_stay_whole(tmp_path: Path) -> None:
    tap = GateTap("shift", None, None)
    sinks = []
    with GateStoreWriter(tmp_path, {"": tap}) as writer:
        sink = ValuesSink(writer.append, half=True)
        sinks.append(sink)
        for at, value in enumerate((0.5, 1e6, float("nan"), float("inf"))):
            sink.observe("", tap, torch.full((1, 2, 1), value), None)
            sink.finish([at])
    store = GateStore(tmp_path)
    assert [store.read(at, "").dtype.name for at in range(4)] == ["float16", "float32", "float16", "float16"]
    assert [store.read(at, "")[0, 0] for at in (0, 1, 3)] == [0.5, 1e6, np.inf]


def test_other_models_and_second_writers_are_refused(tmp_path: Path) -> None:
    record(tmp_path)
    with pytest.raises(DataError, match="gates of another model"):
        GateStoreWriter(tmp_path, {"gate": GateTap("ffn", 0, 1)})
    taps = dict(gate_taps(Layered()))
    with GateStoreWriter(tmp_path, taps), pytest.raises(DataError, match="another process"):
        GateStoreWriter(tmp_path, taps)


def test_damage_is_found(tmp_path: Path) -> None:
    record(tmp_path)
    part = tmp_path / "part-00000.bin"
    raw = bytearray(part.read_bytes())
    raw[0] ^= 1
    part.write_bytes(raw)
    with pytest.raises(DataError, match="damaged at byte 0"):
        GateStore(tmp_path).read("a", "attention.0")
    part.write_bytes(raw[:5])
    with pytest.raises(DataError, match="5 bytes, expected"):
        GateStoreWriter(tmp_path, dict(gate_taps(Layered())))
    (tmp_path / "index.jsonl").write_text("[]\n")
    with pytest.raises(DataError, match="line 1"):
        GateStore(tmp_path)


def test_what_a_crash_left_is_cut_off(tmp_path: Path) -> None:
    values = record(tmp_path)
    with open(tmp_path / "part-00000.bin", "ab") as stream:
        stream.write(b"half a forward")
    with open(tmp_path / "index.jsonl", "a") as stream:
        stream.write('{"part": 0, "en')
    assert GateStore(tmp_path).samples == ["a", "b", "c"]
    later = record(tmp_path, ids=["d", "e", "f"], seed=1)
    store = GateStore(tmp_path)
    assert store.samples == ["a", "b", "c", "d", "e", "f"]
    assert np.array_equal(store.read("a", "attention.0"), values[0].half().numpy())
    assert np.array_equal(store.read("f", "ffn.0"), later[2, :1, :1].half().numpy())


WRITER = """
import itertools, sys, numpy as np
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.value_sinks import TapValues
from gatefuse_plugins.recording.storage import GateStoreWriter
tap = GateTap("ffn", 0.0, 1.0)
writer = GateStoreWriter(sys.argv[1], {"gate": tap})
for at in itertools.count():
    writer.append([at], [TapValues("gate", tap, 0, np.full((1, 200, 64), at % 100 / 128, np.float16), None)])
"""


def test_everything_indexed_survives_kill_nine(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    index = tmp_path / "index.jsonl"
    deadline = time.monotonic() + 60
    while (not index.exists() or index.stat().st_size < 3000) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    store = GateStore(tmp_path)
    assert len(store.samples) > 5
    for sample in store.samples:
        assert (store.read(sample, "gate") == np.float16(sample % 100 / 128)).all()
    tap = GateTap("ffn", 0.0, 1.0)
    with GateStoreWriter(tmp_path, {"gate": tap}) as writer:
        writer.append(["after"], [TapValues("gate", tap, 0, np.ones((1, 2, 1), np.float16), None)])
    assert GateStore(tmp_path).read("after", "gate").tolist() == [[1], [1]]
    assert all(json.loads(line) for line in index.read_text().splitlines())


def test_failures_of_the_writing_thread_reach_the_caller(tmp_path: Path) -> None:
    tap = GateTap("ffn", 0.0, 1.0)
    writer = GateStoreWriter(tmp_path, {"gate": tap})
    writer.append([0], [TapValues("gate", tap, 0, np.zeros((1, 1, 1), np.int32), None)])
    with pytest.raises(DataError, match="int32"):
        writer.close()
    writer.close()


def test_nothing_follows_a_failed_write(tmp_path: Path) -> None:
    tap = GateTap("ffn", 0.0, 1.0)
    writer = GateStoreWriter(tmp_path, {"gate": tap})
    faulty = np.zeros((1, 1, 1), np.int32)
    with pytest.raises(DataError, match="int32"):
        for at, values in enumerate((np.ones((1, 1, 1), np.float16), faulty, np.ones((1, 1, 1), np.float16))):
            writer.append([at], [TapValues("gate", tap, 0, values, None)])
        writer.close()
    with contextlib.suppress(DataError):
        writer.close()
    assert GateStore(tmp_path).samples == [0]
