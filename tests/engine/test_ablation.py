"""Ablation: planning, resuming, spread, report. Training is stood in for by a script that writes a run's files."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gatefuse_plugins.engine.ablation import plan_runs, run_all
from gatefuse_plugins.engine.ablation_figures import Spread, main_metric, summarise, summarise_sweep
from gatefuse_plugins.engine.ablation_report import summary_table, sweep_table, write_report
from gatefuse_plugins.engine.ablation_sweep import AVERAGE, Sweep
from gatefuse_plugins.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
FAKE_TRAIN = """
import json, sys
from pathlib import Path
config, work_dir = Path(sys.argv[1]), Path(sys.argv[sys.argv.index("--work-dir") + 1])
options = dict(item.split("=") for item in sys.argv[sys.argv.index("--cfg-options") + 1:])
assert "--resume" in sys.argv
with open(config.parent / "calls.txt", "a") as calls:
    calls.write(f"{config.stem} {options}\\n")
if (config.parent / f"fail_{config.stem}").exists():
    sys.exit(3)
seed = int(options["seed"])
score = {"a": 10.0, "b": 20.0}[config.stem] + seed + 4 * (options.get("domain") == "BT")
work_dir.mkdir(parents=True, exist_ok=True)
best = {"metric": "cirr/mean", "score": score, "step": 4, "epoch": 2 + seed, "metrics": {"cirr/mean": score}}
record = {"finished": True, "step": 6, "epoch": 3, "metrics": {"cirr/mean": 1.0}, "best": best, "seed": seed,
          "dataset": {"name": "toy"}, "config": str(config)}
(work_dir / "metrics.json").write_text(json.dumps(record))
rows = "step,epoch,split,seconds,loss,cirr/mean\\n2,1,train,1.5,0.7,\\n4,2,train,3.0,0.5,\\n4,2,val,4.0,,%s\\n" % score
(work_dir / "training_log.csv").write_text(rows)
"""


@pytest.fixture
def arms(tmp_path: Path) -> list[Path]:
    (tmp_path / "train.py").write_text(FAKE_TRAIN)
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("seed = 0\n")
    return [tmp_path / "a.py", tmp_path / "b.py"]


def _calls(arms: list[Path]) -> list[str]:
    return (arms[0].parent / "calls.txt").read_text().splitlines()


def test_plan_orders_by_seed_and_reports_all_faults(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [3, 5], tmp_path / "out")
    assert [(run.arm, run.seed) for run in runs] == [("a", 3), ("b", 3), ("a", 5), ("b", 5)]
    assert runs[3].work_dir == tmp_path / "out" / "b" / "seed_5"
    with pytest.raises(ConfigError) as caught:
        plan_runs([arms[0], arms[0], tmp_path / "gone.py"], [1, 1], tmp_path, ["seed=4"])
    for part in ("gone.py: no such config", "arm 'a' is given 2 times", "seed 1 is given 2 times", "use --seeds"):
        assert part in str(caught.value)


def test_finished_runs_are_kept_and_failed_ones_taken_up(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [0, 1], tmp_path / "out", ["lr=1"])
    (tmp_path / "fail_b").touch()
    lines: list[str] = []
    failed = run_all(runs, tmp_path / "train.py", lines.append)
    assert [(run.arm, run.seed) for run in failed] == [("b", 0), ("b", 1)]
    assert sum("exit status 3" in line for line in lines) == 2
    (tmp_path / "fail_b").unlink()
    assert run_all(runs, tmp_path / "train.py", lines.append) == []
    calls = _calls(arms)
    assert [call.split()[0] for call in calls] == ["a", "b", "a", "b", "b", "b"]
    assert calls[0] == "a {'lr': '1', 'seed': '0'}"
    assert sum("finished before" in line for line in lines) == 2


def test_jobs_run_side_by_side_with_their_share_of_cores(arms: list[Path], tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    report = 'import os\nprint("threads", os.environ["OMP_NUM_THREADS"])\n'
    script.write_text(report + FAKE_TRAIN)
    runs = plan_runs(arms, [0, 1], tmp_path / "out")
    (tmp_path / "fail_b").touch()
    assert [(run.arm, run.seed) for run in run_all(runs, script, lambda line: None, jobs=2)] == [("b", 0), ("b", 1)]
    assert (runs[0].work_dir / "console.log").read_text().startswith("threads 1" if os.cpu_count() == 2 else "threads")
    with pytest.raises(ConfigError, match="--jobs 0"):
        run_all(runs, script, lambda line: None, jobs=0)


def test_work_dir_of_other_settings_is_refused_before_training(arms: list[Path], tmp_path: Path) -> None:
    run_all(plan_runs(arms, [0], tmp_path / "out"), tmp_path / "train.py", lambda line: None)
    with pytest.raises(ConfigError, match="another options"):
        run_all(plan_runs(arms, [0], tmp_path / "out", ["lr=2"]), tmp_path / "train.py", lambda line: None)
    arms[1].write_text("seed = 7\n")
    with pytest.raises(ConfigError, match=r"seed_0: holds a run with another config"):
        run_all(plan_runs(arms, [0], tmp_path / "out"), tmp_path / "train.py", lambda line: None)
    assert len(_calls(arms)) == 2


def test_spread_is_the_sample_deviation() -> None:
    assert Spread.of([1.0, 2.0, 4.0]).std == pytest.approx(1.5275252)
    assert Spread.of([1.0, 3.0]).shown() == "2.00 ± 1.41"
    assert Spread.of([0.25]).shown(4) == "0.2500 ± -"


def test_report_holds_best_metrics_epochs_and_wall_time(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [0, 1], tmp_path / "out")
    assert run_all(runs, tmp_path / "train.py", lambda line: None) == []
    by_value = write_report(runs, tmp_path / "out")
    assert list(by_value) == [AVERAGE]
    summary = by_value[AVERAGE]
    assert summary["a"]["cirr/mean"] == Spread(10.5, pytest.approx(0.7071068), 2)
    assert summary["b"]["epochs to best"].mean == 2.5
    assert summary["b"]["wall seconds"] == Spread(4.0, 0.0, 2)
    saved = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert saved["dataset"] == ["toy"]
    assert saved["arms"]["b"]["cirr/mean"]["mean"] == 20.5
    assert [entry["values"]["cirr/mean"] for entry in saved["runs"]] == [10.0, 20.0, 11.0, 21.0]
    rows = list(csv.DictReader((tmp_path / "out" / "ablation.csv").read_text().splitlines()))
    assert rows[0] == {"arm": "a", "figure": "cirr/mean", "mean": "10.5", "std": rows[0]["std"], "seeds": "2"}
    assert [column.header for column in summary_table(summary, "t").columns] == ["figure", "a (2 seeds)", "b (2 seeds)"]


@pytest.fixture
def ablate(arms: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``tools/ablate.py`` over the toy arms, with the toy training; gives its exit status."""
    spec = importlib.util.spec_from_file_location("ablate_tool", ROOT / "tools" / "ablate.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "TRAIN_SCRIPT", tmp_path / "train.py")

    def run(*options: str) -> int:
        given = ["--configs", *map(str, arms), "--seeds", "0", "--work-dir", str(tmp_path / "out"), *options]
        monkeypatch.setattr(sys, "argv", ["tools/ablate.py", *given])
        return tool.main()

    return run


def test_tool_draws_the_arms(ablate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra 'report'")
    assert ablate() == 0
    names = ("ablation.json", "ablation.csv", "ablation.png")
    assert capsys.readouterr().out.split()[-3:] == [str(tmp_path / "out" / name) for name in names]
    assert (tmp_path / "out" / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_tool_without_matplotlib_still_gives_the_table(
    ablate: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"] or ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert ablate() == 0
    printed = capsys.readouterr().out
    assert "a (1 seed)" in printed and "20.00 ± -" in printed
    assert "note: no ablation.png: matplotlib" in printed
    assert printed.split()[-2:] == [str(tmp_path / "out" / name) for name in ("ablation.json", "ablation.csv")]


def test_tool_tells_failed_runs_from_errors(
    ablate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate("--sweep", "domain") == 2
    assert capsys.readouterr().err.startswith("ablate.py: error: --sweep domain=: expected KEY=VALUE")
    (tmp_path / "fail_a").touch()
    (tmp_path / "fail_b").touch()
    assert ablate() == 1
    assert f"ablate.py: b, seed 0 failed; see {tmp_path / 'out' / 'b' / 'seed_0'}" in capsys.readouterr().err


def test_the_test_split_counts_with_the_last_weights_and_those_that_validation_chose(
    arms: list[Path], tmp_path: Path
) -> None:
    runs = plan_runs(arms[:1], [0], tmp_path / "out")
    run_all(runs, tmp_path / "train.py", lambda line: None)
    path = runs[0].work_dir / "metrics.json"
    record = json.loads(path.read_text())
    last = {"cirr/mean": 3.0, "cirr/R@1": 1.0}
    path.write_text(json.dumps(record | {"test": {"last": last, "best": {"cirr/mean": 7.0, "cirr/R@1": 2.0}}}))
    figures = {name: spread.mean for name, spread in summarise(runs)["a"].items()}
    assert list(figures.items())[:5] == [
        ("cirr/mean", 10.0),
        ("test/last/cirr/mean", 3.0),
        ("test/best/cirr/mean", 7.0),
        ("test/last/cirr/R@1", 1.0),
        ("test/best/cirr/R@1", 2.0),
    ]
    path.write_text(json.dumps(record | {"test": {"last": last}}))  # no best one was chosen
    assert {name for name in summarise(runs)["a"] if name.startswith("test/")} == {
        "test/last/cirr/mean",
        "test/last/cirr/R@1",
    }


def test_unfinished_run_is_no_result(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [0], tmp_path / "out")
    run_all(runs, tmp_path / "train.py", lambda line: None)
    path = runs[0].work_dir / "metrics.json"
    path.write_text(path.read_text().replace('"finished": true', '"finished": false'))
    with pytest.raises(DataError, match="has not finished"):
        summarise(runs)


SWEEP = Sweep("domain", ("BK", "BT"))


def _cells(table) -> list[tuple[str, ...]]:
    return list(zip(*(column.cells for column in table.columns), strict=True))


def test_sweep_runs_every_arm_with_every_value(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [0, 1], tmp_path / "out", ["lr=1"], Sweep.parse("domain=BK, BT"))
    assert [str(run) for run in runs[:5]] == [
        "a, BK, seed 0",
        "b, BK, seed 0",
        "a, BT, seed 0",
        "b, BT, seed 0",
        "a, BK, seed 1",
    ]
    assert runs[3].work_dir == tmp_path / "out" / "b" / "BT" / "seed_0"
    assert run_all(runs[:4], tmp_path / "train.py", lambda line: None) == []
    assert _calls(arms)[3] == "b {'lr': '1', 'domain': 'BT', 'seed': '0'}"
    lines: list[str] = []
    assert run_all(runs, tmp_path / "train.py", lines.append) == []
    assert [line.split(": ")[0] for line in lines if "finished before" in line] == [
        f"[{n}/8] {runs[n - 1]}" for n in (1, 2, 3, 4)
    ]


def test_sweep_is_reported_by_value_and_on_average(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [0, 1], tmp_path / "out", sweep=SWEEP)
    run_all(runs, tmp_path / "train.py", lambda line: None)
    by_value = write_report(runs, tmp_path / "out", SWEEP)
    deviation = pytest.approx(0.7071068)
    assert by_value["BT"]["a"]["cirr/mean"] == Spread(14.5, deviation, 2)
    # the mean over domains is taken within a seed: 12 and 13, not the spread of 10, 14, 11, 15
    assert by_value[AVERAGE]["a"]["cirr/mean"] == Spread(12.5, deviation, 2)
    table = sweep_table(by_value, main_metric(runs), "t")
    assert [column.header for column in table.columns] == ["value", "a (2 seeds)", "b (2 seeds)"]
    assert _cells(table) == [
        ("BK", "10.50 ± 0.71", "20.50 ± 0.71"),
        ("BT", "14.50 ± 0.71", "24.50 ± 0.71"),
        ("average", "12.50 ± 0.71", "22.50 ± 0.71"),
    ]
    saved = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert saved["arms"]["b"]["cirr/mean"]["mean"] == 22.5
    assert saved["sweep"]["key"] == "domain" and list(saved["sweep"]["values"]) == ["BK", "BT"]
    assert saved["sweep"]["values"]["BT"]["b"]["cirr/mean"] == {"mean": 24.5, "std": deviation, "count": 2}
    assert [run["value"] for run in saved["runs"]] == ["BK", "BK", "BT", "BT"] * 2
    rows = list(csv.DictReader((tmp_path / "out" / "ablation.csv").read_text().splitlines()))
    found = {(row["value"], row["arm"]): row["mean"] for row in rows if row["figure"] == "cirr/mean"}
    assert found == {
        ("BK", "a"): "10.5",
        ("BK", "b"): "20.5",
        ("BT", "a"): "14.5",
        ("BT", "b"): "24.5",
        ("average", "a"): "12.5",
        ("average", "b"): "22.5",
    }


def test_a_seed_that_lacks_a_value_has_no_average(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [0, 1], tmp_path / "out", sweep=SWEEP)
    run_all(runs, tmp_path / "train.py", lambda line: None)
    lacking = [run for run in runs if (run.arm, run.value) != ("b", "BT") and (str(run) != "a, BK, seed 1")]
    by_value = summarise_sweep(lacking, SWEEP)
    assert by_value[AVERAGE] == {"a": {**by_value[AVERAGE]["a"], "cirr/mean": Spread(12.0, None, 1)}}
    assert list(by_value["BT"]) == ["a"]
    assert _cells(sweep_table(by_value, "cirr/mean", "t"))[1:] == [
        ("BT", "14.50 ± 0.71", ""),
        ("average", "12.00 ± - (1)", ""),
    ]


def test_sweep_faults_are_found_before_training(arms: list[Path], tmp_path: Path) -> None:
    for text, message in (
        ("domain", "expected KEY=VALUE,VALUE"),
        ("domain=", "expected KEY=VALUE,VALUE"),
        ("domain=BK,BK", "'BK' is given twice"),
        ("domain=BK,../x", "'../x' cannot name a folder"),
        ("domain=BK,average", "'average' cannot name a folder"),
        ("seed=1,2", "swept by --seeds"),
    ):
        with pytest.raises(ConfigError, match=message):
            Sweep.parse(text)
    with pytest.raises(ConfigError, match="'domain=VT' is what --sweep sets"):
        plan_runs(arms, [0], tmp_path, ["domain=VT"], SWEEP)


def test_main_metric_must_be_one(arms: list[Path], tmp_path: Path) -> None:
    runs = plan_runs(arms, [0], tmp_path / "out")
    run_all(runs, tmp_path / "train.py", lambda line: None)
    assert main_metric(runs) == "cirr/mean"
    path = runs[1].work_dir / "metrics.json"
    path.write_text(path.read_text().replace('"metric": "cirr/mean"', '"metric": "tvsum/mAP"'))
    with pytest.raises(DataError, match="by cirr/mean, tvsum/mAP; expected one save_best"):
        main_metric(runs)


def test_shares_are_shown_with_four_decimals() -> None:
    summary = {"a": {"tvsum/mAP": Spread(0.61234, 0.00561, 2), "loss": Spread(1.5, 0.5, 2)}}
    assert _cells(summary_table(summary, "t")) == [("tvsum/mAP", "0.6123 ± 0.0056"), ("loss", "1.50 ± 0.50")]
