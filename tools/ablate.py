"""Train several configs with several seeds and report mean and spread of every metric.

    python tools/ablate.py --configs configs/cirr_gated.py configs/cirr_ungated.py --seeds 0 1 2

    python tools/ablate.py --configs configs/tvsum_avigate.py configs/tvsum_concat.py \\
        --sweep domain=BK,BT,DS,FM,GA,MS,PK,PR,VT,VU --seeds 0

Interrupted or partly failed, the same command takes up where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from gatefuse_plugins.engine.ablation import plan_runs, run_all
from gatefuse_plugins.engine.ablation_figures import main_metric
from gatefuse_plugins.engine.ablation_report import dataset_names, summary_table, sweep_table, write_report
from gatefuse_plugins.engine.ablation_sweep import AVERAGE, Sweep
from gatefuse_plugins.errors import GatefuseError

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


def main() -> int:
    args = parse_args()
    console = Console(width=max(Console().width, 140))  # rich takes a pipe for 80 columns
    try:
        sweep = Sweep.parse(args.sweep) if args.sweep is not None else None
        runs = plan_runs(args.configs, args.seeds, args.work_dir, args.cfg_options, sweep)
        failed = run_all(runs, TRAIN_SCRIPT, lambda line: console.print(line, markup=False, highlight=False), args.jobs)
        done = [run for run in runs if run not in failed]
        if done:
            by_value = write_report(done, args.work_dir, sweep)
            title = f"ablation on {', '.join(dataset_names(done))}"
            if sweep:
                console.print(sweep_table(by_value, main_metric(done), f"{title}, {sweep.key} swept"))
            else:
                console.print(summary_table(by_value[AVERAGE], title))
            if len(dataset_names(done)) > 1:
                console.print("The arms were trained on different data sets: their figures do not compare.")
            for name in ("ablation.json", "ablation.csv", "ablation.png"):
                console.print(f"{args.work_dir / name}", soft_wrap=True, highlight=False, markup=False)
    except GatefuseError as error:
        print(f"ablate.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ablate.py: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    for run in failed:
        print(f"ablate.py: {run} failed; see {run.work_dir}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
