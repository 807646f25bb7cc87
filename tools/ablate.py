"""Train several configs with several seeds and report mean and spread of every metric.

    python tools/ablate.py --configs configs/cirr_gated.py configs/cirr_ungated.py --seeds 0 1 2

Interrupted or partly failed, the same command takes up where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from gatefuse_plugins.engine.ablation import plan_runs, run_all
from gatefuse_plugins.engine.ablation_report import dataset_names, summary_table, write_report
from gatefuse_plugins.errors import GatefuseError

TRAIN_SCRIPT = Path(__file__).resolve().parent / "train.py"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", required=True, metavar="CONFIG", help="one config file for each arm")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of every arm")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/ablation"), help="runs and report go here")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with its share of the cores")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="overrides for every run")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    console = Console()
    try:
        runs = plan_runs(args.configs, args.seeds, args.work_dir, args.cfg_options)
        failed = run_all(runs, TRAIN_SCRIPT, lambda line: console.print(line, markup=False, highlight=False), args.jobs)
        done = [run for run in runs if run not in failed]
        if done:
            summary = write_report(done, args.work_dir)
            console.print(summary_table(summary, title=f"ablation on {', '.join(dataset_names(done))}"))
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
        print(f"ablate.py: {run.arm}, seed {run.seed} failed; see {run.work_dir}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
