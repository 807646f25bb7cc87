from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gatefuse_plugins.analysis.gates.data import Sample
from gatefuse_plugins.analysis.gates.sources import StoreGateData
from gatefuse_plugins.analysis.gates.sources_log import LogGateData
from gatefuse_plugins.analysis.gates.summary import summarise
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.jsonlines import GateLogEntry, to_line
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues

TAPS = {"f.attention": GateTap("attention", 0.0, 1.0, 0.0, 0), "f.ffn": GateTap("ffn", -1.0, 1.0, 0.0, 1)}


def write_store(folder: Path, ids: list[str], start: float = 0.0) -> None:
    values = (start + np.arange(len(ids) * 4 * 2) / 100).astype(np.float16).reshape(len(ids), 4, 2)
    valid = np.arange(4) < np.array([[2], [4]] * len(ids))[: len(ids)]
    with GateStoreWriter(folder, TAPS) as writer:
        whole = [TapValues("f.attention", TAPS["f.attention"], 0, values, valid)]
        second = [TapValues("f.attention", TAPS["f.attention"], 1, values + 9, valid)]
        writer.append(ids, [*whole, *second, TapValues("f.ffn", TAPS["f.ffn"], 0, values[:, 0], None)])
        writer.append(["only attention"], [TapValues("f.attention", TAPS["f.attention"], 0, values[:1], None)])


def test_a_store_gives_first_passes_without_padding(tmp_path: Path) -> None:
    write_store(tmp_path / "s", ["a", "b/ü"])
    data = StoreGateData(tmp_path / "s", {"a": Sample("a", "v", "q", {"IoU": 0.5})})
    assert [sample.id for sample in data.samples] == ["a", "b/ü", "only attention"]
    assert data.samples[0].outcomes == {"IoU": 0.5} and data.samples[1].vid is None
    assert list(data.gates) == ["f.attention", "f.ffn"] and data.gates["f.ffn"].layer == 1
    assert data.values("a", "f.attention") == pytest.approx(np.array([[0, 0.01], [0.02, 0.03]]), abs=1e-4)
    assert data.values("b/ü", "f.attention").shape == (4, 2)
    assert data.values("a", "f.ffn").shape == (2, 1)  # one dimension of positions becomes (positions, 1)
    assert data.values("only attention", "f.ffn").shape == (0, 0)
    assert "gate store" in data.origin
    with pytest.raises(DataError, match=r"no sample 'aa'; did you mean 'a'\?"):
        data.values("aa", "f.ffn")
    with pytest.raises(DataError, match=r"no gate 'f.fn'; did you mean 'f.ffn'"):
        data.values("a", "f.fn")


def test_stores_of_ranks_are_one(tmp_path: Path) -> None:
    write_store(tmp_path / "rank10", ["c"])
    write_store(tmp_path / "rank2", ["a", "b"], 0.25)
    data = StoreGateData(tmp_path)
    assert [sample.id for sample in data.samples] == ["a", "b", "only attention", "c"]
    assert data.values("b", "f.attention")[0, 0] == np.float16(0.33)
    with pytest.raises(DataError, match="no such file"):
        StoreGateData(tmp_path / "nothing")


def test_a_log_is_read_as_it_stands(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    entries = []
    for at in range(70):  # more than a batch
        mha, ffn = rng.random((at % 5 + 1, 3), np.float32), np.tanh(rng.normal(size=(at % 5 + 1, 1))).astype(np.float32)
        layers = [{"gate_mha": mha, "gate_ffn": ffn}]
        if at >= 66:  # a layer that no earlier sample has
            layers.append({"gate_mha": np.zeros(0, np.float32), "gate_shift": mha * 7})
        entries.append(GateLogEntry(at, f"v{at}", "elementwise", layers))
    entries[3].layer_gates[0]["gate_mha"][0, 0] = np.nan
    (tmp_path / "log.jsonl").write_text("\n".join(map(to_line, entries)) + "\n" + '{"qid": 70, "vi')
    data = LogGateData(tmp_path / "log.jsonl")
    assert list(data.gates) == ["layer_0.attention", "layer_0.ffn", "layer_1.shift"]
    ranges = [(gate.low, gate.high) for gate in data.gates.values()]
    assert ranges == [(0, 1), (-1, 1), (None, None)]
    assert [sample.id for sample in data.samples] == list(range(70)) and data.samples[69].vid == "v69"
    assert np.array_equal(data.values(3, "layer_0.attention"), entries[3].layer_gates[0]["gate_mha"], equal_nan=True)
    assert np.array_equal(data.values(69, "layer_1.shift"), entries[69].layer_gates[1]["gate_shift"])
    assert data.values(5, "layer_1.shift").shape == (0, 0)
    assert any("line 71 breaks off" in warning for warning in data.warnings)
    found = summarise(data)
    assert found.total_non_finite.tolist() == [1, 0, 0]
    means = [np.nanmean(entry.layer_gates[0]["gate_mha"].astype(float)) for entry in entries]
    assert found.mean[:, 0] == pytest.approx(means, abs=1e-7)
    assert [sample.id for sample in LogGateData(tmp_path / "log.jsonl", 2).samples] == [0, 1]


def test_evaluations_that_share_a_folder_are_counted(tmp_path: Path) -> None:
    write_store(tmp_path / "s", ["a", "b"])
    assert StoreGateData(tmp_path / "s").warnings == ()
    write_store(tmp_path / "s", ["a", "c"], start=1.0)
    data = StoreGateData(tmp_path / "s")
    assert "2 repeated ids, each with its last values" in data.warnings[0]  # "a" and "only attention"
    assert len(data.samples) == 4 and data.values("a", "f.attention")[0, 0] == 1.0
    for rank in ("rank0", "rank1"):
        write_store(tmp_path / "ranks" / rank, ["a"])
    assert "2 repeated ids" in StoreGateData(tmp_path / "ranks").warnings[0]


def test_an_empty_log_has_no_samples(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("")
    data = LogGateData(tmp_path / "log.jsonl")
    assert list(data.samples) == [] and summarise(data).mean.shape == (0, 0)


def test_repeated_and_unknown(tmp_path: Path) -> None:
    gates = [{"gate_mha": np.full((1, 1), 0.5, np.float32)}]
    lines = [to_line(GateLogEntry("q", None, "global", gates)) for _ in range(2)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    data = LogGateData(tmp_path / "log.jsonl")
    assert len(data.samples) == 1 and "1 lines repeat a qid" in data.warnings[0] and len(data.warnings) == 1
    (tmp_path / "odd.jsonl").write_text(lines[0].replace("gate_mha", "gate_atention") + "\n")
    with pytest.raises(DataError, match=r"gates of kind 'atention' .* did you mean 'attention'"):
        LogGateData(tmp_path / "odd.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        LogGateData(tmp_path / "nothing.jsonl")
