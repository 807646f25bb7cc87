"""What do the gates of a model do, and are they worth anything? Tables, pictures and a page.

python tools/analyze_gates.py --config configs/qvhighlights_avigate.py --checkpoint CKPT --split val [--intervene]
python tools/analyze_gates.py --log work_dirs/run/gate_logs_val_Nall.jsonl [--compare-samples 2579 9769]
python tools/analyze_gates.py --log tanh=A/gates sigmoid=B/gates      (the first in full, and runs compared)
python tools/analyze_gates.py --legacy-model my_fork.build:model_and_loader
python tools/analyze_gates.py --demo
"""

from __future__ import annotations

import argparse
import sys

from gatefuse_plugins.analysis.gates.intervention_options import INTERVENTIONS
from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.launch import add_run_arguments
from gatefuse_plugins.launch_analysis import launch_analysis


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_argument_group(
        "what to analyse: one of --config with --checkpoint, --log, --legacy-model, --demo"
    )
    source.add_argument("--config", help="config file, such as configs/qvhighlights_avigate.py")
    source.add_argument("--checkpoint", help="checkpoint of this project, of QD-DETR, AVIGATE, SPRC or LAVIS")
    source.add_argument("--data-path", metavar="P", help="folder of the data set instead of the config's data_root")
    source.add_argument("--split", help="split of the data set instead of the config's")
    source.add_argument(
        "--log",
        nargs="+",
        metavar="[NAME=]LOG",
        help="gate log (.jsonl) or folder of a gate store; further ones are compared with the first",
    )
    source.add_argument(
        "--legacy-model",
        metavar="MODULE:FUNCTION",
        help="FUNCTION() returns (model, loader) of a fork; a batch of the loader is the forward's arguments by name,"
        " with sample_id, a list, if samples shall have names",
    )
    source.add_argument(
        "--demo", action="store_true", help="train a small model on a small embedded set, and analyse it"
    )
    source.add_argument("--select", nargs="+", metavar="GATES", help="patterns over names of gates; all by default")
    source.add_argument(
        "--num-samples", type=int, default=-1, metavar="N", help="the first N samples; -1, default: all"
    )
    add_run_arguments(parser)
    parser.add_argument("--out", default="gate_analysis", metavar="DIR", help="folder of the findings; gate_analysis/")
    parser.add_argument("--max-samples", type=int, metavar="N", help="samples with pictures of their own: 50; -1: all")
    parser.add_argument("--compare-samples", nargs="+", metavar="ID", help="samples to put side by side")
    parser.add_argument("--save-raw-data", action="store_true", help="values of the samples with pictures, as .npy")
    parser.add_argument("--training-log", metavar="CSV", help="training_log.csv of the run, for gates over training")
    parser.add_argument(
        "--intervene",
        dest="interventions",
        nargs="*",
        choices=INTERVENTIONS,
        help="evaluate again with the gates put at other values; all ways by default",
    )
    parser.add_argument(
        *("--imports", "--with"),
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules that register analyses or plots",
    )
    parser.add_argument("--trust", action="store_true", help="unpickle a file from a source that you trust")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    launch_analysis(args)
    return 0


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
