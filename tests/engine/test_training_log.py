from __future__ import annotations

import pytest

from gatefuse_plugins.engine.curves import _gate_lines, _metrics, draw_curves, without_common_parts
from gatefuse_plugins.engine.panels import Line, mean_lines
from gatefuse_plugins.engine.training_log import TrainingLog, read_training_log
from gatefuse_plugins.errors import DataError


def row(step, split="train", **values):
    return {"step": step, "epoch": 1, "split": split, "seconds": "1.0", **values}


def test_new_columns_extend_the_header(tmp_path):
    log = TrainingLog(tmp_path / "log.csv")
    log.append(row(1, loss=2.0))
    log.append(row(2, loss=1.0))
    log.append(row(2, "val", **{"cirr/R@1": 40, "note": 'a "quoted", text'}))
    columns, rows = read_training_log(log.path)
    assert columns == ["step", "epoch", "split", "seconds", "loss", "cirr/R@1", "note"]
    assert [r["loss"] for r in rows] == ["2.0", "1.0", ""]
    assert rows[2]["note"] == 'a "quoted", text'


def test_torn_last_row_is_dropped_and_the_log_goes_on(tmp_path):
    path = tmp_path / "log.csv"
    TrainingLog(path).append(row(1, loss=2.0))
    with open(path, "a") as stream:
        stream.write("2,1,tra")
    log = TrainingLog(path)
    log.append(row(2, loss=1.0))
    assert [r["step"] for r in log.rows()] == ["1", "2"]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "step,epoch,split,seconds\n1,1\n"])
def test_foreign_file_is_refused(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"log\.csv"):
        TrainingLog(path)


def write_run(path, offset=0.0):
    log = TrainingLog(path)
    for step in (10, 20):
        gates = {f"gates/query/{name}": value for name, value in {"mean": 0.5, "min": 0.25, "max": 0.75}.items()}
        log.append(row(step, loss=1 / step + offset, loss_itc=0.5 / step, **gates))
        log.append(row(step, "val", **{"cirr/R@50": 99, "cirr/R@1": step + offset, "cirr/mean": 50}))
    return path


def test_lines_that_are_drawn(tmp_path):
    columns, rows = read_training_log(write_run(tmp_path / "a.csv"))
    assert _metrics(columns, rows) == ["cirr/mean", "cirr/R@1", "cirr/R@50"]
    (line,) = _gate_lines(columns, rows)
    assert (line.label, line.x, line.y) == ("query", [10, 20], [0.5, 0.5])
    assert (line.low, line.high) == ([0.25, 0.25], [0.75, 0.75])


def test_one_and_several_runs_make_a_picture(tmp_path):
    logs = {"gated": write_run(tmp_path / "a.csv"), "ungated": write_run(tmp_path / "b.csv", 0.1)}
    draw_curves({"gated": logs["gated"]}, tmp_path / "one.png")
    draw_curves(logs, tmp_path / "two.png", title="arms")
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one.startswith(b"\x89PNG") and two.startswith(b"\x89PNG") and one != two
    with pytest.raises(DataError, match="no training log given"):
        draw_curves({}, tmp_path / "none.png")


def test_seeds_merge_into_mean_and_deviation() -> None:
    seeds = [
        [Line("loss", [1, 2, 3], [1.0, 2.0, 3.0])],
        [Line("loss", [1, 2], [3.0, 2.0]), Line("only here", [1], [0.0])],
    ]
    (line,) = mean_lines(seeds)
    assert (line.x, line.y) == ([1, 2], [2.0, 2.0])
    assert line.low == pytest.approx([2.0 - 2**0.5, 2.0])
    assert line.high == pytest.approx([2.0 + 2**0.5, 2.0])


def test_tap_names_lose_what_they_share() -> None:
    names = [
        "fusion.layers.0.gates.attention_tap",
        "fusion.layers.1.gates.attention_tap",
        "fusion.layers.0.gates.ffn_tap",
    ]
    assert without_common_parts(names) == ["0.attention_tap", "1.attention_tap", "0.ffn_tap"]
    assert without_common_parts(["a.b"]) == ["a.b"]
    assert without_common_parts(["a.b", "a.b.c"]) == ["a.b", "a.b.c"]
