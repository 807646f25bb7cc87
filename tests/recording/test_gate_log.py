"""The JSON-lines log of QD-DETR-exp, and the hook that writes it."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gated_models import Layered, gate_values
from torch import nn

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.gate_log_hook import GateLogHook
from gatefuse_plugins.recording.jsonlines import GateLogEntry, read_gate_log, to_line
from gatefuse_plugins.recording.log_parts import LogPart, join_parts
from gatefuse_plugins.recording.store_reader import GateStore

ANNOTATIONS = [{"qid": 10 + row, "vid": f"v{row}"} for row in range(4)]


def evaluate(model: nn.Module, hook: GateLogHook, info: dict[str, Any] | None = None) -> torch.Tensor:
    """Two batches, their rows not in order; the last repeats a sample as samplers do."""
    values = gate_values(4)
    info = {"annotations": ANNOTATIONS} if info is None else info
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=info))
    runner: Any = SimpleNamespace(model=model, test_dataloader=loader, logger=logging.getLogger("gate-log-test"))
    hook.before_test_epoch(runner)
    for rows in ([2, 0], [1, 3, 0]):
        batch = {"sample_index": torch.tensor(rows)}
        hook.before_test_iter(runner, 0, batch)
        mask = torch.arange(5)[None] < torch.tensor(rows)[:, None] + 2
        model(values[rows], mask)
    hook.after_test_epoch(runner)
    return values


def test_log_holds_the_valid_rows_in_the_order_of_the_data_set(tmp_path: Path) -> None:
    model = Layered()
    values = evaluate(model, GateLogHook(str(tmp_path), "val"))
    lines = [json.loads(line) for line in (tmp_path / "gate_logs_val_Nall.jsonl").read_text().splitlines()]
    assert [(line["qid"], line["vid"]) for line in lines] == [(10, "v0"), (11, "v1"), (12, "v2"), (13, "v3")]
    assert set(lines[0]) == {"qid", "vid", "gating_type", "layer_gates"}
    assert lines[1]["gating_type"] == "elementwise"
    assert set(lines[1]["layer_gates"][0]) == {"gate_mha", "gate_ffn"}
    assert lines[1]["layer_gates"][1]["gate_mha"] == (values[1, :3] / 2).tolist()
    assert lines[3]["layer_gates"][0]["gate_ffn"] == values[3, :1, :1].tolist()
    assert not model._forward_hooks and not model.ffn[0]._forward_hooks
    assert [path.name for path in tmp_path.iterdir()] == ["gate_logs_val_Nall.jsonl"]


@pytest.mark.parametrize(("count", "name"), [(2, "gate_logs_test_N2.jsonl"), (9, "gate_logs_test_N4.jsonl")])
def test_the_first_samples_of_the_data_set_only(tmp_path: Path, count: int, name: str) -> None:
    evaluate(Layered(), GateLogHook(str(tmp_path), sample_count=count))
    assert [entry.qid for entry in read_gate_log(tmp_path / name)] == [10, 11, 12, 13][:count]
    with pytest.raises(ConfigError, match="-1 for all"):
        GateLogHook(str(tmp_path), sample_count=0)


def test_a_path_without_jsonl_is_a_store(tmp_path: Path) -> None:
    values = evaluate(Layered(), GateLogHook("", save_path=str(tmp_path / "gates"), sample_count=3))
    store = GateStore(tmp_path / "gates")
    assert sorted(store.samples) == [10, 11, 12]
    assert np.array_equal(store.read(11, "attention.1"), (values[1, :3] / 2).half().numpy())


def test_models_without_gates_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Plain(nn.Module):
        def forward(self, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return value

    caplog.set_level(logging.INFO)
    evaluate(Plain(), GateLogHook(str(tmp_path)))
    assert caplog.messages == ["--gate-log: Plain has no gates; nothing is logged"]
    caplog.clear()
    silent = Plain()
    silent.tap = GateTap("ffn", 0.0, 1.0)
    evaluate(silent, GateLogHook(str(tmp_path)))
    assert "no gate gave values per sample" in caplog.text
    caplog.clear()
    evaluate(Layered(), GateLogHook(str(tmp_path)), info={})
    assert "nothing is logged" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_composed_retrieval_logs_queries(tmp_path: Path) -> None:
    info = {"gallery": ["i0", "i1"], "reference": np.array([1, 0, 1, 1]), "pairid": np.array([5, 6, 7, 8])}
    evaluate(Layered(), GateLogHook(str(tmp_path)), info)
    found = [(entry.qid, entry.vid) for entry in read_gate_log(tmp_path / "gate_logs_test_Nall.jsonl")]
    assert found == [(5, "i1"), (6, "i0"), (7, "i1"), (8, "i1")]


def test_lines_are_written_and_read(tmp_path: Path) -> None:
    gates = {"gate_mha": np.array([[0.1, np.nan], [np.inf, 0.4]], np.float32), "gate_ffn": np.zeros(0, np.float32)}
    entry = GateLogEntry(3, "v", "elementwise", [gates])
    log = tmp_path / "log.jsonl"
    log.write_text(f"{to_line(entry)}\n\n{to_line(entry)}\n")
    assert "NaN" not in log.read_text() and "null" in log.read_text()
    first, second = read_gate_log(log)
    assert (first.qid, first.vid, first.gating_type) == (3, "v", "elementwise")
    assert first.layer_gates[0]["gate_mha"].dtype == np.float32
    assert first.layer_gates[0]["gate_mha"][0, 0] == np.float32(0.1) and math.isnan(
        first.layer_gates[0]["gate_mha"][0, 1]
    )
    assert second.layer_gates[0]["gate_ffn"].shape == (0,)
    assert len(list(read_gate_log(log, 1))) == 1


def test_broken_logs_name_the_line(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    whole = (
        '{"qid": 1, "vid": "v", "gating_type": "global", "layer_gates": [{"gate_mha": [[0.5]], "gate_ffn": [[NaN]]}]}'
    )
    log.write_text(f"{whole}\n{whole[:40]}")
    with pytest.warns(UserWarning, match="line 2 breaks off"):
        assert [entry.qid for entry in read_gate_log(log)] == [1]
    for broken, message in (
        (whole[:40], "line 1 is not valid JSON"),
        ('{"qid": 1}', "line 1 lacks vid, gating_type, layer_gates"),
        (whole.replace("[[0.5]]", '[["x"]]'), "line 1: layer_gates holds no nested lists"),
        (whole.replace("[[0.5]]", f"[[{'9' * 400}]]"), "line 1: layer_gates holds no nested lists"),
    ):
        log.write_text(f"{broken}\n{whole}\n")
        with pytest.raises(DataError, match=message):
            list(read_gate_log(log))
    for encoding in ("latin-1", "utf-16"):
        log.write_bytes((whole.replace('"v"', '"é"') + "\n").encode(encoding))
        with pytest.raises(DataError, match="line 1 is not valid JSON in UTF-8"):
            list(read_gate_log(log))
    with pytest.raises(DataError, match="No such file"):
        list(read_gate_log(tmp_path / "absent.jsonl"))


def test_parts_of_several_processes_join_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for rank, rows in enumerate(([0, 2], [1, 3, 0])):
        part = LogPart(log, rank)
        for row in rows:
            part.add(row, f'{{"row": {row}, "text": "a\\tb"}}')
        part.close()
    join_parts(log, 2)
    assert [json.loads(line)["row"] for line in log.read_text().splitlines()] == [0, 1, 2, 3]
    assert list(tmp_path.iterdir()) == [log]
