"""Train several configs with several seeds and report mean and spread of every metric.

    python tools/ablate.py --configs configs/cirr_gated.py configs/cirr_ungated.py --seeds 0 1 2

    python tools/ablate.py --configs configs/tvsum_avigate.py configs/tvsum_concat.py \\
        --sweep domain=BK,BT,DS,FM,GA,MS,PK,PR,VT,VU --seeds 0

Interrupted or partly failed, the same command takes up where it stopped. Exit status 1 where a run
failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.engine.ablation import AblationRun, plan_runs, run_all
from gatefuse_plugins.engine.ablation_figures import main_metric
from gatefuse_plugins.engine.ablation_report import dataset_names, draw_report, summary_table, sweep_table, write_report
from gatefuse_plugins.engine.ablation_sweep import AVERAGE, Sweep

TRAIN_SCRIPT = Path(__file__).resolve().parent / "train.py"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", required=True, metavar="CONFIG", help="one config file for each arm")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of every arm")
    parser.add_argument("--sweep", metavar="KEY=V,V,...", help="run every arm with each of these values, and average")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/ablation"), help="runs and report go here")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with its share of the cores")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="overrides for every run")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    console = Console(width=max(Console().width, 140))  # rich takes a pipe for 80 columns
    sweep = Sweep.parse(args.sweep) if args.sweep is not None else None
    runs = plan_runs(args.configs, args.seeds, args.work_dir, args.cfg_options, sweep)
    failed = run_all(runs, TRAIN_SCRIPT, lambda line: console.print(line, markup=False, highlight=False), args.jobs)
    done = [run for run in runs if run not in failed]
    if done:
        report(done, args.work_dir, sweep, console)
    for run in failed:
        print(f"ablate.py: {run} failed; see {run.work_dir}", file=sys.stderr)
    return int(bool(failed))


def report(done: Sequence[AblationRun], out: Path, sweep: Sweep | None, console: Console) -> None:
    """Write the report and print its table and its files."""
    by_value = write_report(done, out, sweep)
    title = f"ablation on {', '.join(dataset_names(done))}"
    if sweep:
        console.print(sweep_table(by_value, main_metric(done), f"{title}, {sweep.key} swept"))
    else:
        console.print(summary_table(by_value[AVERAGE], title))
    if len(dataset_names(done)) > 1:
        console.print("The arms were trained on different data sets: their figures do not compare.")
    written = [out / "ablation.json", out / "ablation.csv"]
    try:
        draw_report(done, out / "ablation.png")
        written.append(out / "ablation.png")
    except ImportError as error:  # the picture is a convenience, as curves.png is
        missing = error.name or "matplotlib"
        note = f"note: no ablation.png: {missing} is missing; pip install 'gatefuse-plugins[report]'"
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    for path in written:
        console.print(f"{path}", soft_wrap=True, highlight=False, markup=False)


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
