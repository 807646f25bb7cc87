"""Test a checkpoint: metrics, and for moment retrieval a submission and pictures of single queries.

python tools/test.py configs/cirr_gated.py CKPT [--out metrics.json] [--cfg-options k=v]
python tools/test.py configs/qvhighlights_avigate.py CKPT --split val --plots 10
python tools/test.py configs/qvhighlights_avigate.py CKPT --split val --gate-log --gate-sample-count 50
python tools/test.py configs/msrvtt_avigate_query_gate.py CKPT --leak-check     (exit status 1 on a leak)
"""

from __future__ import annotations

import argparse
import sys

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.launch import add_run_arguments
from gatefuse_plugins.launch_test import launch_leak_check, launch_test


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, such as configs/cirr_gated.py")
    parser.add_argument("checkpoint", help="checkpoint of this project, of QD-DETR, AVIGATE, SPRC or LAVIS")
    add_run_arguments(parser)
    parser.add_argument("--split", help="test on this split of the data set instead of the config's")
    parser.add_argument("--out", help="metrics file; WORK_DIR/SPLIT_metrics.json by default (test_ without --split)")
    parser.add_argument("--submission", help="predictions; WORK_DIR/SPLIT_submission.jsonl by default")
    drawn = parser.add_mutually_exclusive_group()
    drawn.add_argument("--plots", type=int, metavar="N", help="draw the first N queries")
    drawn.add_argument("--plot-qids", nargs="+", metavar="QID", help="draw these queries")
    parser.add_argument("--plots-dir", metavar="DIR", help="folder of the pictures; WORK_DIR/SPLIT_plots by default")
    parser.add_argument("--gate-log", action="store_true", help="write the gates of single samples, as JSON lines")
    parser.add_argument(
        "--gate-sample-count", type=int, metavar="N", help="with --gate-log: the first N samples; -1, the default: all"
    )
    parser.add_argument(
        "--gate-save-path",
        metavar="P",
        help="the gate log; WORK_DIR/gate_logs_SPLIT_NCOUNT.jsonl by default. A name without .jsonl is the new"
        " folder of a gate store: float16, some fifteen times smaller",
    )
    parser.add_argument(
        "--leak-check",
        action="store_true",
        help="instead of metrics: do the scores of shuffled texts and videos tell which belong together?",
    )
    parser.add_argument("--trust", action="store_true", help="unpickle a file from a source that you trust")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    if args.leak_check:
        return int(launch_leak_check(args).leaking)
    launch_test(args)
    return 0


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
